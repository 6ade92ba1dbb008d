"""`polyrec kinds`: the building blocks of a declaration."""

from __future__ import annotations

import inspect

from rich.table import Table

from polyrec.cli.terminal.output import Json, console, print_json


def kinds(json: Json = False) -> None:
    """List the building blocks of a declaration. These are features, networks, tasks, balancers, fusions and others.

    Example: polyrec kinds --json
    """
    import polyrec

    members = {family: polyrec.kinds(family) for family in polyrec.families()}
    if json:
        print_json({family: list(names) for family, names in members.items()})
        return
    for family, names in members.items():
        table = Table(title=family, title_justify="left", show_header=False)
        for name, kind in names.items():
            table.add_row(name, (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " "))
        console.print(table)
