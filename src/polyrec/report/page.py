"""One HTML page from sections: self-contained, no script, no network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polyrec.core.errors import missing_extra
from polyrec.core.files import write_text


@dataclass(frozen=True)
class Table:
    """Rows under a header; every cell is text, and is escaped on the page."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Section:
    """A heading with some of: a paragraph, a plot, tables side by side."""

    heading: str
    text: str = ""
    svg: str = ""
    """A plot of `polyrec.report.plots`, put on the page as it is."""
    tables: Sequence[Table] = ()


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Write the page, whole or not at all."""
    try:
        from jinja2 import Environment, PackageLoader
    except ImportError as error:
        raise missing_extra("jinja2", "report", "a report") from error
    environment = Environment(loader=PackageLoader("polyrec.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    write_text(path, environment.get_template("page.html").render(title=title, lead=lead, sections=sections))
