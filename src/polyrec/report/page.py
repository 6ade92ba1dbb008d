"""One self-contained HTML page from sections, without scripts and network access."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from polyrec.core.errors import missing_extra
from polyrec.core.files import write_text


@dataclass(frozen=True)
class Table:
    """A table of texts, which are escaped on the page."""

    header: Sequence[str]
    """Titles of the columns."""
    rows: Sequence[Sequence[str]]
    """Cells of each row."""


@dataclass(frozen=True)
class Section:
    """A heading with an optional paragraph, plot and tables."""

    heading: str
    """Heading of the section."""
    text: str = ""
    """Paragraph under the heading."""
    svg: str = ""
    """Plot of `polyrec.report.plots`, inserted without escaping."""
    tables: Sequence[Table] = ()
    """Tables, side by side."""


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section]) -> None:
    """Write the page, atomically."""
    try:
        from jinja2 import Environment, PackageLoader
    except ImportError as error:
        raise missing_extra("jinja2", "report", "a report") from error
    environment = Environment(loader=PackageLoader("polyrec.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    write_text(path, environment.get_template("page.html").render(title=title, lead=lead, sections=sections))
