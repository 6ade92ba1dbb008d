"""The page in a real browser, over a real server process with keys: what people do with it, by mouse, keyboard and phone."""

import hashlib
import itertools
import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect, sync_playwright

from polyrec import Add, Binary, Categorical, History, Multilabel, Numeric, Recommender, Regression, Tables, Training

pytestmark = pytest.mark.slow

KEY = "a key of the tests"
HOSTILE = '<img src=x onerror="window.broken = 1">&amp;<b>'
PATIENCE = 30
"""Seconds that the browser waits for what is to come: much, for machines that are busy."""
SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WEIGHTS = {"like": 1.0, "minutes": 0.0}


class Api:
    """A server's address, and what it answers."""

    def __init__(self, address: str) -> None:
        self.address = address

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, headers, method=method)
        for tries in itertools.count(1):
            try:
                with urllib.request.urlopen(request) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code != 503 or tries == PATIENCE:
                    raise
                time.sleep(1)

    def titles(self, user: str, k: int = 10, **fields: Any) -> list[str]:
        answer = self("POST", "/recommend", {"user": user, "k": k, "columns": ["title"], **fields})
        return [item["columns"]["title"] for item in answer["items"]]

    def is_ready(self) -> bool:
        try:
            return bool(self("GET", "/ready"))
        except (urllib.error.URLError, ConnectionError):
            return False


@pytest.fixture(scope="module")
def api(world: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A server of a model with a title that is HTML, a city that is HTML, and a task that ranks against all others."""
    folder = tmp_path_factory.mktemp("page")
    _fit(world).save(folder / "model")
    digest = hashlib.sha256(KEY.encode()).hexdigest()
    (folder / "keys.yaml").write_text(f"- {{name: page, sha256: {digest}, scopes: [read, write, admin]}}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "polyrec", "serve", folder / "model", "--port", port, "--keys", folder / "keys.yaml"]
    command += ["--store", f"sqlite:///{folder}/events.sqlite"]
    api = Api(f"http://127.0.0.1:{port}")
    with (folder / "log").open("w") as log, subprocess.Popen([*map(str, command)], stdout=log, stderr=log) as process:
        try:
            end = time.monotonic() + 4 * PATIENCE
            while not api.is_ready():
                assert process.poll() is None and time.monotonic() < end, (folder / "log").read_text()
                time.sleep(0.1)
            yield api
        finally:
            process.terminate()


def _fit(world: pl.DataFrame) -> Any:
    rows = world.head(3000).with_columns(minutes=(pl.col("item_id") % 13).cast(pl.Float64))
    items = rows.select("item_id", "genres").unique("item_id", maintain_order=True)
    title = (
        pl.when(pl.col("item_id") == items["item_id"].min())
        .then(pl.lit(HOSTILE))
        .otherwise("Film " + pl.col("item_id").cast(pl.String))
    )
    city = pl.when(pl.col("user_id") % 2 == 0).then(pl.lit("Ulm")).otherwise(pl.lit("<b>Bonn</b>"))
    spec = Recommender(
        user=(
            Categorical(name="user_id", width=8),
            Categorical(name="city", width=4),
            Numeric(name="age", width=4),
            History(name="liked", of="item_id", length=5, where="rating >= 4", width=8),
        ),
        item=(Categorical(name="item_id", width=8),),
        tasks=(
            Binary(name="like", label="rating >= 4", tower=()),
            Regression(name="minutes", label="minutes", tower=()),
            Multilabel(name="interest", label="CASE WHEN rating >= 4 THEN genres END", inputs="user", tower=()),
        ),
        fusion=Add(weights=WEIGHTS),
        training=Training(epochs=3, batch_size=64, learning_rate=0.01),
    )
    return spec.fit(Tables(rows.drop("genres").with_columns(city=city), items=items.with_columns(title=title)), progress=False)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=1000 * PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=SWITCHES)
        yield browser
        browser.close()


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, api: Api) -> Iterator[Open]:
    """Return what opens the page, with the key in place, and asserts at last that the browser had nothing to complain of."""
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    def open_page(key: str | None = KEY, **options: Any) -> Page:
        context = browser.new_context(**{"reduced_motion": "reduce", **options})
        contexts.append(context)
        context.set_default_timeout(1000 * PATIENCE)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.complaints = complaints
        if key is not None:
            context.add_init_script(f"sessionStorage.setItem('polyrec.key', {json.dumps(key)})")
        page.goto(api.address)
        if key is not None:
            expect(page.get_by_role("status")).to_contain_text("The best")
        return page

    yield open_page
    broken = [page.evaluate("window.broken") for context in contexts for page in context.pages]
    for context in contexts:
        context.close()
    assert [text for text in complaints if "503" not in text] == [], "a server that was too busy is asked again"
    assert broken == [None] * len(broken)


@pytest.fixture
def page(open_page: Open) -> Page:
    return open_page(viewport={"width": 1280, "height": 900})


def titles(page: Page) -> list[str]:
    return page.locator(".item h3").all_text_contents()


def shows(page: Page, wanted: list[str]) -> None:
    """Wait until the list is this one."""
    expect(page.locator(".item h3")).to_have_text(wanted)


def suggested(page: Page) -> Locator:
    return page.get_by_role("listbox", name="Users").get_by_role("option")


def choose(page: Page, user: str) -> None:
    page.get_by_role("combobox", name="User").fill(user)
    page.get_by_role("option", name=user, exact=True).click()
    expect(page.get_by_role("status")).to_have_text(f"The best 10 for user {user}.")


def slide(page: Page, name: str, value: float) -> None:
    page.get_by_role("slider", name=f"Weight of {name}").fill(str(value))


class TestList:
    def test_a_user_is_found_by_the_start_of_the_key(self, page: Page, api: Api):
        box = page.get_by_role("combobox", name="User")
        box.fill("11")
        options = suggested(page)
        expect(options).to_have_count(10)
        assert options.all_text_contents() == api("GET", "/users?start=11")["users"]
        page.get_by_role("option", name="117").click()
        expect(page.get_by_role("status")).to_have_text("The best 10 for user 117.")
        shows(page, api.titles("117"))
        expect(page.locator("#known")).to_contain_text("Known from training")
        past = api("GET", "/users/117?limit=30")["history"]
        expect(page.locator("#history li")).to_have_count(len(past))
        expected = [f"{event['columns']['title']} rating {event['columns']['rating']}" for event in past]
        assert [" ".join(text.split()) for text in page.locator("#history li").all_inner_texts()] == expected

    def test_every_task_has_a_bar_from_the_lowest_to_the_highest(self, page: Page, api: Api):
        choose(page, "103")
        items = api("POST", "/recommend", {"user": "103"})["items"]
        likes = np.array([item["tasks"]["like"] for item in items])
        cells = page.locator(".item .cell:has(dt:text-is('like'))")
        said = [float(text) for text in cells.locator("dd > span:first-child").all_text_contents()]
        np.testing.assert_allclose(said, likes, rtol=5e-3)
        widths = cells.locator(".fill").evaluate_all("nodes => nodes.map(node => parseFloat(node.style.width))")
        np.testing.assert_allclose(widths, 6 + 94 * (likes - likes.min()) / np.ptp(likes), atol=0.01)
        interest = {name.removeprefix("interest."): share for name, share in items[0]["tasks"].items() if "." in name}
        best = max(interest, key=interest.__getitem__)
        expect(page.locator("#person")).to_contain_text(f"interest of this user: {best} {interest[best]:.3f}")

    def test_a_moved_slider_ranks_anew_as_the_api_does(self, page: Page, api: Api):
        choose(page, "105")
        before = api.titles("105")
        after = api.titles("105", weights={"minutes": 1.0})
        shows(page, before)
        assert before != after
        slide(page, "minutes", 1)
        shows(page, after)
        new = len(set(after) - set(before))
        expect(page.get_by_role("status")).to_contain_text(f"{new} new")
        expect(page.locator(".marker.new")).to_have_count(new)
        for place, title in enumerate(after):
            way = before.index(title) - place if title in before else 0
            if way:
                said = f"{'up' if way > 0 else 'down'} by {abs(way)} place"
                expect(page.locator(".item").nth(place).locator(".marker")).to_contain_text(said)
        page.get_by_role("button", name="Reset weights").click()
        shows(page, before)

    def test_only_the_last_answer_counts(self, page: Page, api: Api):
        choose(page, "107")
        held: list[Route] = []
        page.route("**/recommend", lambda route: route.continue_() if held else held.append(route))
        slide(page, "minutes", 1)
        while not held:
            page.wait_for_timeout(20)
        slide(page, "minutes", 0.5)
        wanted = api.titles("107", weights={"minutes": 0.5})
        expect(page.locator(".item h3").first).to_have_text(wanted[0])
        held[0].abort()
        page.wait_for_timeout(100)
        shows(page, wanted)

    def test_a_mistaken_condition_is_told_and_the_list_stays(self, page: Page, api: Api):
        before = titles(page)
        page.get_by_label("Only where").fill("colour = 1")
        page.get_by_label("Only where").press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("colour")
        shows(page, before)
        page.get_by_label("Only where").fill("item_id > 200")
        page.get_by_label("Only where").press("Enter")
        expect(page.get_by_role("alert")).to_be_empty()
        shows(page, api.titles("100", where="item_id > 200"))
        assert any("409" in text for text in page.complaints)
        page.complaints.clear()

    def test_a_busy_server_is_asked_again(self, page: Page, api: Api):
        refused: list[Route] = []

        def refuse_once(route: Route) -> None:
            if refused:
                route.continue_()
            else:
                refused.append(route)
                route.fulfill(status=503, json={"error": "server: too busy"})

        page.route("**/recommend", refuse_once)
        page.get_by_label("Items").select_option("5")
        shows(page, api.titles("100", k=5))
        assert refused


class TestEvents:
    def test_a_rating_changes_the_list_at_once(self, page: Page, api: Api):
        choose(page, "111")
        before = titles(page)
        scores = page.locator(".cell.fused").all_inner_texts()
        page.locator(".item").nth(1).get_by_role("button", name="rating 5").click()
        expect(page.get_by_role("status")).to_contain_text(f"Recorded: rating 5, {before[1]}.")
        shows(page, api.titles("111"))
        assert before[1] not in titles(page)
        assert page.locator(".cell.fused").all_inner_texts() != scores, "the history does not count"
        expect(page.locator("#left")).to_contain_text(before[1])
        first = page.locator("#history li").first
        expect(first).to_contain_text(before[1])
        expect(first).to_contain_text("live rating 5")
        (event,) = [event for event in api("GET", "/users/111")["history"] if event["source"] == "live"]
        assert event["type"] == "rating" and event["columns"]["rating"] == 5
        assert abs(event["time"] - time.time()) < 60

    def test_someone_new_is_described_and_acts(self, page: Page, api: Api):
        page.get_by_role("button", name="Someone new").click()
        expect(page.get_by_role("status")).to_have_text("The best 10 for someone new.")
        expect(page.locator("#notes")).to_contain_text("has not seen this user")
        key = page.get_by_role("combobox", name="User").input_value()
        page.get_by_label("city").select_option("<b>Bonn</b>")
        page.get_by_label("age").fill("70")
        features = {"city": "<b>Bonn</b>", "age": 70}
        (best,) = api("POST", "/recommend", {"user": key, "features": features, "k": 1})["items"]
        expect(page.locator(".cell.fused dd > span").first).to_have_text(f"{best['score']:.3f}")
        shows(page, api.titles(key, features=features))
        shown = titles(page)[0]
        page.locator(".item").first.get_by_role("button", name="view").click()
        expect(page.locator("#history .badge")).to_have_count(1)
        shows(page, api.titles(key, features=features))
        assert shown not in titles(page)


class TestDetails:
    def test_why_says_what_the_api_says(self, page: Page, api: Api):
        choose(page, "120")
        (item,) = api("POST", "/recommend", {"user": "120", "k": 1})["items"]
        why = page.locator(".item").first.get_by_role("button", name="Why?")
        why.click()
        tasks = api("POST", "/explain", {"user": "120", "item": item["item"]})["tasks"]
        charts = page.locator("figure")
        expect(charts).to_have_count(len(tasks))
        expect(why).to_have_attribute("aria-expanded", "true")
        for place, (name, task) in enumerate(tasks.items()):
            chart = charts.nth(place)
            expect(chart.locator("caption")).to_contain_text(name.replace(".", ": "))
            parts = {feature: added for feature, added in task["contributions"].items() if abs(added) > 1e-9}
            assert chart.locator("tbody th").all_text_contents() == list(parts)
            said = [float(text.replace("−", "-")) for text in chart.locator("td.number").all_text_contents()]
            largest = max(map(abs, parts.values()))
            np.testing.assert_allclose(said, list(parts.values()), atol=largest / 100)
            widths = chart.locator(".fill").evaluate_all("nodes => nodes.map(node => parseFloat(node.style.width))")
            np.testing.assert_allclose(widths, [50 * abs(added) / largest for added in parts.values()], atol=0.01)
            expect(chart.locator("figcaption")).to_contain_text("where nothing is known")
        why.click()
        expect(charts.first).to_be_hidden()

    def test_similar_items_are_those_of_the_api(self, page: Page, api: Api):
        choose(page, "121")
        (item,) = api("POST", "/recommend", {"user": "121", "k": 1})["items"]
        page.locator(".item").first.get_by_role("button", name="Similar").click()
        rows = page.get_by_role("list", name="Similar items").get_by_role("listitem")
        expect(rows).to_have_count(8)
        similar = api("POST", "/similar", {"item": item["item"], "k": 8, "columns": ["title"]})["items"]
        for row, expected in zip(rows.all_inner_texts(), similar, strict=True):
            assert row.startswith(expected["columns"]["title"])

    def test_the_model_card_is_drawn(self, page: Page):
        page.get_by_role("button", name="Model card").click()
        dialog = page.get_by_role("dialog", name="Model card")
        expect(dialog.get_by_role("heading", name="Validation")).to_be_visible()
        row = dialog.get_by_role("row").filter(has_text="rating >= 4").first
        assert row.get_by_role("cell").all_text_contents()[:3] == ["like", "Binary", "rating >= 4"]
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()

    def test_metrics_are_read_as_prometheus_reads_them(self, page: Page):
        expect(page.locator("#metrics")).to_contain_text("list p95")
        run = "text => import('/parts/metrics.js').then(metrics => metrics.parse(text))"
        text = '# HELP a b\na{path="/x",le="+Inf"} 3.0\nb 1.5e-05\nc{said="a \\"b\\""} +Inf\n'
        labels = [sample["labels"] for sample in page.evaluate(run, text)]
        assert labels == [{"path": "/x", "le": "+Inf"}, {}, {"said": 'a \\"b\\"'}]
        bounds, counts = [0.0, 0.1, 0.5, 1.0], [0, 2, 8, 10]
        run = "([share, buckets]) => import('/parts/metrics.js').then(metrics => metrics.quantile(share, buckets))"
        for share in (0.05, 0.5, 0.95):
            buckets = list(zip(bounds[1:], counts[1:], strict=True))
            assert page.evaluate(run, [share, buckets]) == pytest.approx(np.interp(10 * share, counts, bounds))


class TestSafety:
    def test_a_title_of_html_is_text(self, page: Page, api: Api):
        page.get_by_label("Items").select_option("50")
        page.get_by_label("Exclude seen").uncheck()
        page.get_by_label("Only where").fill("item_id < 30")
        page.get_by_label("Only where").press("Enter")
        hostile = page.locator("h3", has_text="onerror")
        expect(hostile).to_have_text(HOSTILE)
        row = page.locator(".item").filter(has=hostile)
        row.get_by_role("button", name="Similar").click()
        expect(row.locator(".similar li")).to_have_count(8)
        row.get_by_role("button", name="rating 1").click()
        expect(page.get_by_role("status")).to_contain_text(HOSTILE)
        expect(page.locator("#history li").first).to_contain_text(HOSTILE)
        assert page.locator("img").count() == page.locator("main b:text-is('Bonn')").count() == 0

    def test_no_code_reads_text_as_html(self):
        folder = files("polyrec.serve") / "page"
        scripts = [folder / "page.js", *(folder / "parts").iterdir()]
        for script in scripts:
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", script.read_text("utf-8"))

    def test_a_key_is_asked_for_and_stays_in_the_tab(self, open_page: Open, api: Api):
        page = open_page(key=None)
        dialog = page.get_by_role("dialog", name="API key required")
        expect(dialog).to_contain_text("expected a known API key")
        dialog.get_by_label("API key").fill("wrong")
        page.keyboard.press("Enter")
        page.wait_for_function("sessionStorage.getItem('polyrec.key') === 'wrong'")
        dialog.get_by_label("API key").fill(KEY)
        dialog.get_by_role("button", name="Use the key").click()
        expect(page.get_by_role("status")).to_contain_text("The best 10")
        assert page.evaluate("[sessionStorage.getItem('polyrec.key'), localStorage.length, document.cookie]") == [KEY, 0, ""]
        assert all("401" in text for text in page.complaints)
        page.complaints.clear()


class TestEveryone:
    def test_the_keyboard_alone_is_enough(self, page: Page, api: Api):
        keys = page.keyboard
        keys.press("Tab")
        expect(page.get_by_role("link", name="Skip to the list")).to_be_focused()
        keys.press("Tab")
        keys.press("Tab")
        box = page.get_by_role("combobox", name="User")
        expect(box).to_be_focused()
        keys.press("ControlOrMeta+a")
        keys.type("12")
        expect(suggested(page)).to_have_count(10)
        keys.press("ArrowDown")
        keys.press("ArrowDown")
        active = page.locator(f"#{box.get_attribute('aria-activedescendant')}")
        expect(active).to_have_attribute("aria-selected", "true")
        user = active.text_content()
        keys.press("Enter")
        expect(page.get_by_role("status")).to_have_text(f"The best 10 for user {user}.")
        expect(suggested(page)).to_have_count(0)
        for _ in range(4):
            keys.press("Tab")
        slider = page.get_by_role("slider", name="Weight of minutes")
        expect(slider).to_be_focused()
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        keys.press("End")
        wanted = api.titles(user, weights={"minutes": 1.0})
        expect(page.locator(".item h3").first).to_have_text(wanted[0])
        for _ in range(10):
            keys.press("Tab")
            if page.locator(".item").first.locator(":focus").count():
                break
        first, second = page.locator(".item").first, page.locator(".item").nth(1)
        expect(first.get_by_role("button", name="view")).to_be_focused()
        keys.press("ArrowRight")
        expect(first.get_by_role("button", name="rating 1")).to_be_focused()
        keys.press("ArrowDown")
        expect(second.get_by_role("button", name="rating 1")).to_be_focused()
        keys.press("Enter")
        expect(page.get_by_role("status")).to_contain_text(f"Recorded: rating 1, {wanted[1]}.")
        expect(second.get_by_role("button", name="rating 1")).to_be_focused()
        keys.press("End")
        keys.press("ArrowLeft")
        keys.press("Enter")
        expect(second.locator("figure").first).to_be_visible()
        keys.press("ArrowUp")
        expect(first.get_by_role("button", name="Why?")).to_be_focused()

    @pytest.mark.parametrize("width", [320, 375])
    def test_a_phone_shows_all_of_it_without_scrolling_sideways(self, open_page: Open, width: int):
        page = open_page(viewport={"width": width, "height": 800}, has_touch=True, is_mobile=True)
        for name in ("Why?", "Similar"):
            page.locator(".item").nth(1 if name == "Why?" else 2).get_by_role("button", name=name).tap()
        expect(page.locator("figure").first).to_be_visible()
        expect(page.locator(".similar")).to_be_visible()
        page.get_by_role("button", name="Someone new").tap()
        expect(page.get_by_label("city")).to_be_visible()
        expect(page.locator(".actions button").first).to_be_visible()  # the list of someone new has arrived
        assert page.evaluate("document.documentElement.scrollWidth") == width
        sides = page.locator("button:visible, input:visible, h3:visible").evaluate_all(
            "nodes => nodes.map(node => node.getBoundingClientRect()).flatMap(box => [box.left, box.right])"
        )
        assert min(sides) >= 0 and max(sides) <= width
        small = page.locator(".actions button").evaluate_all("nodes => nodes.map(node => node.offsetHeight)")
        assert min(small) >= 24

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_text_stands_out_from_its_ground(self, open_page: Open, scheme: str):
        page = open_page(color_scheme=scheme)
        names = re.findall(r"--([\w-]+): #", (files("polyrec.serve") / "page" / "page.css").read_text("utf-8"))
        read = "names => names.map(name => [name, getComputedStyle(document.documentElement).getPropertyValue('--' + name)])"
        colours = dict(page.evaluate(read, sorted(set(names))))
        for text in ("text", "muted", "accent", "up", "down", "new", *(f"hue-{place}" for place in range(6))):
            for ground in ("surface", "ground"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert contrast(colours["muted"], colours["sunken"]) >= 4.5
        assert contrast(colours["error"], colours["error-ground"]) >= 4.5
        assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
        assert contrast(colours["surface"], colours["up"]) >= 4.5
        for shape in ("edge", "more", "less", "plain"):
            assert contrast(colours[shape], colours["surface"]) >= 3, shape

    def test_rows_glide_only_where_motion_is_welcome(self, open_page: Open):
        for motion, moves in (("no-preference", True), ("reduce", False)):
            page = open_page(reduced_motion=motion)
            page.evaluate("() => { Element.prototype.animate = () => { window.moved = true; }; }")
            slide(page, "minutes", 1)
            expect(page.get_by_role("status")).to_contain_text("up")
            assert page.evaluate("Boolean(window.moved)") is moves


def contrast(one: str, other: str) -> float:
    """Return the ratio of two colours' luminances, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        digits = colour.strip().removeprefix("#")
        digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
        parts = np.array([int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
