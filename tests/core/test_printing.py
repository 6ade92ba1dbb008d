"""Results are shown by the same table in a terminal, as plain text and in a notebook."""

import io
from dataclasses import dataclass
from html.parser import HTMLParser

import pytest
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from polyrec.core.printing import Printed, numbers


@dataclass(frozen=True)
class Result(Printed):
    name: str = "<b>auc</b>"
    value: float = 0.5

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table("metric", *numbers("value", None), title="word " * 20)
        table.add_row(Text(self.name), f"{self.value:.4f}", style="bold red")
        yield table


def test_a_terminal_shows_the_table_in_colours():
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=120)
    console.print(Result())
    assert isinstance(console.file, io.StringIO)
    assert "\x1b[" in console.file.getvalue()
    assert "0.5000" in console.file.getvalue()


def test_plain_text_has_no_colours_and_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch):
    text = str(Result())
    assert "<b>auc</b>" in text
    assert "0.5000" in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 120
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert str(Result()) == text == f"{Result()}"


class Reader(HTMLParser):
    """Collects tags, styles and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.styles = ""
        self.text = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.styles += "".join(value or "" for name, value in attributes if name == "style")

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_notebook_shows_the_text_of_the_table_escaped_and_with_colours(capsys: pytest.CaptureFixture[str]):
    reader = Reader()
    reader.feed(Result()._repr_html_())
    assert reader.tags == {"pre", "span"}
    assert [line.rstrip() for line in reader.text.rstrip().splitlines()] == [
        line.rstrip() for line in str(Result()).splitlines()
    ]
    assert "font-weight: bold" in reader.styles
    assert "color: #" in reader.styles
    assert capsys.readouterr().out == ""


def test_a_result_must_say_how_it_is_rendered():
    with pytest.raises(NotImplementedError):
        str(Printed())
