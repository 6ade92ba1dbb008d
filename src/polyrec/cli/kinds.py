"""`polyrec kinds`: what can stand in a declaration."""

from __future__ import annotations

import inspect

from rich.table import Table

from polyrec.cli.output import Json, console, print_json


def kinds(json: Json = False) -> None:
    """List every kind of feature, network, task, balancer, fusion, encoder and split.

    Example: polyrec kinds --json
    """
    import polyrec

    members = {family: polyrec.kinds(family) for family in polyrec.families()}
    if json:
        print_json({family: list(found) for family, found in members.items()})
        return
    for family, found in members.items():
        table = Table(title=family, title_justify="left", show_header=False)
        for name, kind in found.items():
            table.add_row(name, (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " "))
        console.print(table)
