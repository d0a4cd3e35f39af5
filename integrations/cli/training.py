"""`weft train`: distil, mine, score, teacher, queries, qa and adapt."""

from __future__ import annotations

import typer

from . import training_data, training_models

app = typer.Typer(
    name="train",
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
