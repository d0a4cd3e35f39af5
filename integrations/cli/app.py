"""The application: its commands, the global options, and how errors are shown."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ...engine.errors import CorruptIndexError, WeftError
from . import (
    checking,
    demo,
    evaluating,
    importing,
    ingest,
    maintaining,
    manage,
    queueing,
    searching,
    serving,
    status,
    training,
    tuning,
)
from .output import fail, note


class ErrorGroup(TyperGroup):
    """Shows an error of Weft as one line and ends with code 1, unless `--debug` is given."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except WeftError as error:
            if ctx.params.get("debug"):
                raise
            code = fail(error)
            if isinstance(error, CorruptIndexError) and ctx.invoked_subcommand != "check":
                note("weft check tells everything that is damaged, and what is lost with it.")
            raise typer.Exit(code) from error


app = typer.Typer(
    name="weft",
    cls=ErrorGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Search your documents by meaning, token by token.",
    epilog="Start with: weft index FOLDER, then: weft search 'your question'.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"weft {version('weft')}")
        raise typer.Exit


@app.callback()
def _global_options(
    debug: Annotated[
        bool,
        typer.Option("--debug", envvar="WEFT_DEBUG", help="Show tracebacks and log messages."),
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    if debug:
        logging.basicConfig(level=logging.DEBUG)
    else:
        logging.getLogger().addHandler(logging.NullHandler())


COMMANDS = (
    ingest,
    importing,
    searching,
    manage,
    maintaining,
    queueing,
    status,
    serving,
    checking,
    tuning,
    training,
    evaluating,
    demo,
)
for module in COMMANDS:
    module.register(app)
