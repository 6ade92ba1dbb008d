"""`polyrec schema`: the JSON schema of a declaration, for editors."""

from __future__ import annotations

from polyrec.cli.output import print_json


def schema() -> None:
    """Print the JSON schema of a declaration: an editor then completes and checks its YAML.

    Example: polyrec schema > polyrec.schema.json
    """
    import polyrec

    print_json(polyrec.json_schema(polyrec.Recommender))
