"""The command `polyrec`: a user error ends with one line on standard error and exit code 2."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from pydantic import ValidationError

from polyrec.cli import cache, datasets, demo, kinds, schema
from polyrec.cli.answer import describe, export, predict, recommend
from polyrec.cli.judge import compare, evaluate, off_policy, prompt, text_report
from polyrec.cli.learn import fit, fuse, prepare, refresh, tune, write
from polyrec.cli.server import key, publish, serve
from polyrec.cli.terminal.output import errors
from polyrec.core.errors import UserError
from polyrec.core.errors import describe as problems

app = typer.Typer(
    name="polyrec",
    help="One recommender for many tasks, with language models inside.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (
    demo.demo,
    fit.fit,
    prepare.prepare,
    evaluate.evaluate,
    off_policy.off_policy,
    describe.describe,
    compare.compare,
    tune.tune,
    fuse.fuse,
    text_report.text_report,
    write.write,
    predict.predict,
    recommend.recommend,
    prompt.prompt,
    serve.serve,
    publish.publish,
    refresh.refresh,
    key.key,
    export.export,
    kinds.kinds,
    schema.schema,
    datasets.datasets,
    cache.cache,
):
    app.command()(command)


def _print_version(is_requested: bool) -> None:
    if is_requested:
        from polyrec import __version__

        typer.echo(f"polyrec {__version__}")
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """One recommender for many tasks, with language models inside."""


def main() -> None:
    """Run the command line."""
    try:
        app()
    except (UserError, ImportError) as error:
        errors.print(f"polyrec: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except ValidationError as error:
        errors.print(f"polyrec: {problems(error)}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
