"""Options that the training commands share, and how they show what goes on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final, TypedDict

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from .output import err, note

if TYPE_CHECKING:
    from ...engine.training.distillation import StepReport
    from ...engine.training.settings import TrainingSettings
    from ...engine.training.teachers import Teacher

Output = Annotated[
    Path,
    typer.Option("--output", "-o", help="Folder for what is made.", show_default=False),
]
Queries = Annotated[
    Path, typer.Option(help="Query texts: .tsv or .jsonl, perhaps .gz.", show_default=False)
]
Passages = Annotated[
    Path, typer.Option(help="Passage texts: .tsv or .jsonl, perhaps .gz.", show_default=False)
]
Start = Annotated[
    str | None,
    typer.Option(
        "--start",
        "-s",
        help="Checkpoint to begin with: a folder or a hub name, plain or late-interaction.",
        show_default="weft-mini",
    ),
]
Dim = Annotated[
    int | None,
    typer.Option(
        help="Dimensions of the projection that a plain start gets; a late-interaction start "
        "keeps its own.",
        show_default="128",
    ),
]
QueryMaxlen = Annotated[
    int | None,
    typer.Option(
        help="Query tokens of a plain start; a late-interaction start keeps its own.",
        show_default="32",
    ),
]
DocumentMaxlen = Annotated[
    int | None,
    typer.Option(
        help="Passage tokens of a plain start; a late-interaction start keeps its own.",
        show_default="180",
    ),
]
Steps = Annotated[int, typer.Option(help="Optimiser steps.")]
Batch = Annotated[int, typer.Option(help="Queries of a step.")]
Ways = Annotated[int, typer.Option(help="Passages per query.")]
Rate = Annotated[float, typer.Option("--learning-rate", help="Highest learning rate.")]
Warmup = Annotated[
    int | None, typer.Option(help="Steps of warm-up.", show_default="a tenth of the steps")
]
Dtype = Annotated[str, typer.Option(help="fp32 or bf16.")]
ChunkTokens = Annotated[
    int, typer.Option(help="Tokens in memory at a time; beyond it gradients are cached.")
]
SaveEvery = Annotated[int, typer.Option(help="Steps between checkpoints.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Seed = Annotated[int, typer.Option(help="Of everything drawn.")]
Track = Annotated[
    bool, typer.Option("--track", help="Log to TensorBoard, in the folder 'metrics'.")
]
TeacherNames = Annotated[
    list[str] | None,
    typer.Option(
        "--teacher",
        "-t",
        help="A cross-encoder's folder or hub name; 'maxsim[:NAME]' for a late-interaction "
        "encoder, 'pooled[:NAME]' for a sentence encoder. Several are blended.",
        show_default=False,
    ),
]
Bonus = Annotated[
    float, typer.Option("--positive-bonus", help="Added to the positive's teacher score.")
]


_LINES: Final = 20
"""Lines of progress that a run without a terminal prints."""


class StartOptions(TypedDict):
    """What `distil` is told of a plain start; None is the default."""

    dim: int | None
    query_maxlen: int | None
    document_maxlen: int | None


def settings_of(*, steps: int, warmup: int | None, **options: Any) -> TrainingSettings:
    """The settings, with a tenth of the steps as warm-up where none is given."""
    from ...engine.training.settings import TrainingSettings

    chosen = steps // 10 if warmup is None else warmup
    return TrainingSettings(steps=steps, warmup=chosen, **options)


def start_told(
    start: str | None,
    dim: int | None = None,
    query_maxlen: int | None = None,
    document_maxlen: int | None = None,
) -> dict[str, object]:
    """What a start is made of; a run that is gone on with must be told the same."""
    from ...engine.training.starting import DEFAULT_DIM

    known = start is not None and Path(start).expanduser().is_dir()
    return {
        "start": str(Path(start).expanduser().resolve()) if start and known else start,
        # Runs were always noted with a dim, whatever their start.
        "dim": DEFAULT_DIM if dim is None else dim,
        "query_maxlen": query_maxlen,
        "document_maxlen": document_maxlen,
    }


def load_teacher(names: list[str] | None) -> Teacher | None:
    """The teacher that was named, or a blend of several."""
    if not names:
        return None
    from ...engine.training.teachers import Blend, PooledTeacher

    found = [_teacher(name) for name in names]
    if len(found) == 1 and not isinstance(found[0], PooledTeacher):
        return found[0]
    # Cosines alone lie so near each other that they would teach that all passages are alike.
    return Blend([(one, 1.0) for one in found])


def _teacher(name: str) -> Teacher:
    from ...engine.encoder import load_encoder
    from ...engine.training.cross_encoder import CrossEncoder
    from ...engine.training.teachers import MaxSimTeacher, PooledTeacher

    kind, _, rest = name.partition(":")
    if kind == "maxsim":
        return MaxSimTeacher(load_encoder(rest or None))
    if kind == "pooled":
        return PooledTeacher(rest or None)
    return CrossEncoder.load(name)


class _Stopping:
    """Ctrl-C while steps are done: the first ends the run after its step, the second at once."""

    def __init__(self) -> None:
        self._stepping = self._asked = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """What SIGINT calls."""
        if self._asked or not self._stepping:
            raise KeyboardInterrupt
        self._asked = True
        # Not through the console, which may be in the middle of a line.
        os.write(2, b"\nStopping after this step, with a checkpoint; Ctrl-C again stops at once.\n")

    def after(self, step: StepReport) -> None:
        """Stop between two steps if that was asked for."""
        self._stepping = step.step < step.steps
        if self._asked and self._stepping:
            note(f"Stopped after step {step.step:,}: the same command goes on from there.")
            raise KeyboardInterrupt


@contextmanager
def _interruptible() -> Iterator[_Stopping]:
    stopping = _Stopping()
    if threading.current_thread() is not threading.main_thread():
        yield stopping
        return
    before = signal.signal(signal.SIGINT, stopping.handle)
    try:
        yield stopping
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def step_bar() -> Iterator[Callable[[StepReport], None]]:
    """A bar over steps on stderr, with the loss; gives the function to call after each.

    Without a terminal a line is printed now and then instead.
    """
    bar = Progress(
        TextColumn("Training"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
    )
    task = bar.add_task("", total=None)

    def report(step: StepReport) -> None:
        text = f"loss {step.loss:.4f}, {step.seconds:.1f} s a step"
        bar.update(task, completed=step.step, total=step.steps, description=text)
        every = max(1, step.steps // _LINES)
        if not err.is_terminal and (step.step % every == 0 or step.step in (1, step.steps)):
            note(f"step {step.step:,} of {step.steps:,}: {text}")
        stopping.after(step)

    with _interruptible() as stopping, bar:
        yield report


@contextmanager
def count_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar over things that are counted; gives the function to call with done and total."""
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=not err.is_terminal,
        transient=True,
    )
    task = bar.add_task("", total=None)
    with bar:
        yield lambda done, total: bar.update(task, completed=done, total=total)
