"""`weft train`: distil, mine, score, teacher, queries, qa and adapt."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from ...engine.errors import StorageError, WeftError
from . import training_data, training_models


class TrainingGroup(TyperGroup):
    """Shows what the disk refuses as an error of Weft: training writes many files."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (WeftError, BrokenPipeError):
            raise
        except OSError as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise StorageError(
                f"the disk refused ({what}): choose another output folder or make room, and run "
                "the same again; what is finished is kept"
            ) from error


app = typer.Typer(
    name="train",
    cls=TrainingGroup,
    no_args_is_help=True,
    help="Train a late-interaction model on your own domain.",
    epilog="With judged queries: weft train adapt FOLDER. Step by step: mine, teacher, score, "
    "distil. Without any: queries first. docs/training.md tells more.",
)


def register(parent: typer.Typer) -> None:
    """Add the group of commands."""
    for module in (training_models, training_data):
        module.register(app)
    parent.add_typer(app, name="train")
