"""A progress bar is shown on a terminal while the work lasts, and nowhere else."""

import io
import re
import time

import pytest

from polyrec.core import progress
from polyrec.core.progress import progress_bar, tracked


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "JPY_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(progress, "DELAY", 0.0)


def redirect(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> io.StringIO:
    """Let standard error be a stream; called in the test, since pytest replaces standard error after the fixtures."""
    monkeypatch.setattr("sys.stderr", stream)
    return stream


def wait_for(text: str, terminal: io.StringIO) -> None:
    """Wait until a text has been written; fail after ten seconds."""
    end = time.monotonic() + 10
    while text not in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue()):
        assert time.monotonic() < end, f"no {text!r} on the terminal"
        time.sleep(0.01)


def test_long_work_shows_title_count_and_note_and_removes_the_bar(monkeypatch: pytest.MonkeyPatch):
    terminal = redirect(monkeypatch, Terminal())
    with progress_bar("training", 7, completed=2, unit="epochs") as bar:
        wait_for("2/7 epochs", terminal)
        bar.advance(note="utility 0.5")
        wait_for("3/7 epochs", terminal)
        wait_for("utility 0.5", terminal)
        bar.move(6)
        wait_for("6/7 epochs", terminal)
    assert "training" in terminal.getvalue()
    assert terminal.getvalue().endswith("\x1b[2K")  # the line is erased


def test_short_work_shows_nothing(monkeypatch: pytest.MonkeyPatch):
    terminal = redirect(monkeypatch, Terminal())
    monkeypatch.setattr(progress, "DELAY", 60.0)
    with progress_bar("training", 2) as bar:
        bar.advance()
    assert terminal.getvalue() == ""


def test_a_disabled_bar_shows_nothing(monkeypatch: pytest.MonkeyPatch):
    terminal = redirect(monkeypatch, Terminal())
    with progress_bar("training", 2, disable=True) as bar:
        bar.advance()
        time.sleep(0.05)
    assert terminal.getvalue() == ""


def test_a_file_receives_nothing(monkeypatch: pytest.MonkeyPatch):
    file = redirect(monkeypatch, io.StringIO())
    with progress_bar("training", 2) as bar:
        bar.advance()
        time.sleep(0.05)
    assert file.getvalue() == ""


def test_of_two_bars_the_outer_one_is_shown(monkeypatch: pytest.MonkeyPatch):
    terminal = redirect(monkeypatch, Terminal())
    with progress_bar("trials", 2):
        wait_for("trials", terminal)
        with progress_bar("encoding", 2) as inner:
            inner.advance()
            time.sleep(0.05)
    assert "encoding" not in terminal.getvalue()
    with progress_bar("encoding", 2):
        wait_for("encoding", terminal)


def test_an_error_passes_through_and_frees_the_terminal(monkeypatch: pytest.MonkeyPatch):
    terminal = redirect(monkeypatch, Terminal())

    def fail() -> None:
        with progress_bar("first", 2):
            wait_for("first", terminal)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    with progress_bar("second", 2):
        wait_for("second", terminal)


def test_items_are_counted_as_they_are_done(monkeypatch: pytest.MonkeyPatch):
    terminal = redirect(monkeypatch, Terminal())
    items = tracked(["a", "b"], "ranking")
    assert next(items) == "a"
    wait_for("0/2", terminal)
    assert next(items) == "b"
    wait_for("1/2", terminal)
    assert list(items) == []
