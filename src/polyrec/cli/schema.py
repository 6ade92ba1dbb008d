"""`polyrec schema`: print the JSON schema of a declaration."""

from __future__ import annotations

from polyrec.cli.terminal.output import print_json


def schema() -> None:
    """Print the JSON schema of a declaration. Editors use it to complete and validate the YAML.

    Example: polyrec schema > polyrec.schema.json
    """
    import polyrec

    print_json(polyrec.json_schema(polyrec.Recommender))
