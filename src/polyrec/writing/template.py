"""Jinja2 templates over columns: sandboxed, strict about names, filled only with cleaned text."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from polyrec.core.errors import UserError, missing_extra, nearest
from polyrec.writing.data_block import CLOSING, OPENING, clean

_THING = "the template"


class Template:
    """A template of one request's data.

    Names are checked before any request is sent: names of columns when the template is made, names of past rows' columns when
    the first row is rendered.
    """

    def __init__(self, source: str, known: Collection[str], labels: Collection[str], limit: int) -> None:
        try:
            import jinja2
            import jinja2.meta
            import jinja2.sandbox
        except ImportError as error:
            raise missing_extra("jinja2", "language", "a template") from error
        self._jinja2, self._limit = jinja2, limit
        if OPENING in source or CLOSING in source:
            raise UserError(
                _THING,
                expected=f"no {OPENING} or {CLOSING}",
                found=f"{OPENING} in it",
                remedy="Remove it: both marks are added around the data.",
            )
        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined)
        try:
            names = jinja2.meta.find_undeclared_variables(environment.parse(source))
            self._template = environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise UserError(
                _THING, expected="Jinja", found=f"{error.message} in line {error.lineno}", remedy="Fix the syntax."
            ) from error
        self.names = tuple(sorted(names - set(environment.globals)))
        for name in self.names:
            check_name(name, known, labels)
        if not self.names:
            raise UserError(_THING, expected="a column in it", found="none", remedy="Write one in braces: {{ title }}.")

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the template filled from a row; a list of mappings holds past rows."""
        try:
            return self._template.render({name: self._cleaned(value) for name, value in values.items()})
        except self._jinja2.TemplateError as error:
            remedy = "Fix the expression."
            raise UserError(_THING, expected="a template that fits the columns", found=f"{error}", remedy=remedy) from error

    def _cleaned(self, value: Any) -> Any:
        if isinstance(value, list) and value and isinstance(value[0], dict):
            return [_Row({name: self._cleaned(inner) for name, inner in row.items()}) for row in value]
        return value if isinstance(value, bool | int | float) else clean(value, self._limit)


@dataclass(frozen=True)
class Subjects:
    """The users or items that texts are written about, one row each."""

    template: Template
    frame: pl.DataFrame
    """Columns that the template names; past rows as a list of structs."""
    kept: pl.DataFrame
    """First columns of the written table, the key first."""

    def data(self, row: int) -> str:
        """Return the rendered template of a row; empty if all of its columns are empty."""
        values = self.frame.row(row, named=True)
        return self.template.render(values) if any(value not in (None, "", []) for value in values.values()) else ""


class _Row:
    """A past row; an unknown name raises `UserError` with the nearest known one."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            raise _unknown(str(name), self._values, "of a past row")
        return self._values[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)


def check_name(name: str, known: Collection[str], labels: Collection[str]) -> None:
    """Raise `UserError` if a name in a template is no column, or a column that a label reads."""
    if name in labels:
        remedy = "Take it out: a text written from a label would leak the label to the model."
        raise UserError(_THING, expected="columns known before the labels", found=f"{name!r}, of a label", remedy=remedy)
    if name not in known:
        raise _unknown(name, known, "")


def _unknown(name: str, known: Collection[str], where: str) -> UserError:
    return UserError(_THING, expected=f"columns {where}".strip(), found=f"{name!r}", remedy=nearest(name, known))
