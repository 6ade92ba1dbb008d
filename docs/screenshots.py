"""Take the pictures of the server's page that the guide shows: `python docs/screenshots.py artifact/demo/artifact`."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

IMAGES = Path(__file__).with_name("images")
USER = "42"
PATIENCE = 120_000
"""Milliseconds to wait for anything at most."""
SWITCHES = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


@contextmanager
def serving(artifact: Path) -> Iterator[str]:
    """Serve an artifact with a store of its own on a free port, and return the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "polyrec", "serve", str(artifact), "--port", str(port)]
        with subprocess.Popen([*command, "--store", f"sqlite:///{folder}/events.sqlite"]) as server:
            try:
                yield f"http://127.0.0.1:{port}"
            finally:
                server.terminate()


def opened(page: Page, address: str) -> None:
    """Open the page as soon as the server answers, and choose the user."""
    for _ in range(PATIENCE // 1000):
        try:
            page.goto(address)
            break
        except Exception:
            page.wait_for_timeout(1000)
    page.set_default_timeout(PATIENCE)
    page.wait_for_selector(".item")
    page.get_by_role("combobox", name="User").fill(USER)
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text(f"user {USER}")


def main() -> None:
    """Take all pictures."""
    expect.set_options(timeout=PATIENCE)
    IMAGES.mkdir(exist_ok=True)
    with serving(Path(sys.argv[1])) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=SWITCHES)
        page = browser.new_page(viewport={"width": 1360, "height": 900}, reduced_motion="reduce")
        opened(page, address)
        for count, place in enumerate((1, 4), 1):
            page.locator(".item").nth(place).get_by_role("button", name="rating 5").click()
            expect(page.locator("#history .badge")).to_have_count(count)
            expect(page.locator(".marker.up, .marker.down, .marker.new").first).to_be_visible()
        page.mouse.move(700, 300)
        page.locator("#metrics").wait_for()
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=IMAGES / "serve-desktop.png")
        page.locator(".item").first.get_by_role("button", name="Why?").click()
        page.locator("figure").first.wait_for()
        box = page.locator(".item").first.bounding_box()
        assert box is not None
        clip = {"x": box["x"] - 14, "y": box["y"], "width": box["width"] + 28, "height": box["height"]}
        page.screenshot(path=IMAGES / "serve-explain.png", clip=clip, full_page=True)
        phone = browser.new_page(
            viewport={"width": 375, "height": 1080}, device_scale_factor=2, color_scheme="dark", reduced_motion="reduce"
        )
        opened(phone, address)
        phone.screenshot(path=IMAGES / "serve-phone.png")
        browser.close()


if __name__ == "__main__":
    main()
