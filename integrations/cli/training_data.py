"""`weft train mine`, `queries`, `qa` and `adapt`: what makes examples of an index or a folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import DEFAULT_INDEX, EncoderName, IndexPath
from .output import announce, err, note, out
from .training_options import (
    Batch,
    Bonus,
    Dim,
    Dtype,
    Output,
    Queries,
    Rate,
    Seed,
    Start,
    Steps,
    TeacherNames,
    Ways,
    count_bar,
    load_teacher,
    settings_of,
    start_told,
    step_bar,
)

if TYPE_CHECKING:
    from ...engine.evaluation.collections import Collection
    from ...engine.index import Index
    from ...engine.training.texts import Languages

Qrels = Annotated[
    Path,
    typer.Option(help="Judgements: query id, document id, grade, by tabs.", show_default=False),
]
Depth = Annotated[int, typer.Option(help="Passages retrieved per query.")]
Negatives = Annotated[int, typer.Option(help="Negatives per query.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("mine")(mine)
    app.command("queries")(queries)
    app.command("qa")(qa)
    app.command("adapt")(adapt)


def mine(
    queries: Queries,
    qrels: Qrels,
    output: Output,
    index: IndexPath = DEFAULT_INDEX,
    encoder: EncoderName = None,
    depth: Depth = 100,
    negatives: Negatives = 31,
    skip: Annotated[int, typer.Option(help="Best negatives to pass over.")] = 0,
    margin: Annotated[
        float | None,
        typer.Option(help="Drop negatives scored above the positive less this.", show_default="no"),
    ] = None,
    teachers: TeacherNames = None,
    seed: Seed = 0,
) -> None:
    """Make examples with hard negatives from an index: mined.jsonl and passages.jsonl."""
    from ...engine.evaluation.beir import read_qrels
    from ...engine.index import Index
    from ...engine.training import mining
    from ...engine.training.rounds import EXAMPLES, PASSAGES, keep_mined
    from ...engine.training.texts import Texts

    settings = mining.MiningSettings(
        depth=depth, negatives=negatives, skip=skip, margin=margin, seed=seed
    )
    texts, judged = Texts(queries), read_qrels(qrels)
    with Index.open(index, encoder=encoder) as opened, count_bar("Mining") as progress:
        found = mining.mine(
            opened,
            texts,
            judged,
            settings=settings,
            teacher=load_teacher(teachers),
            progress=progress,
        )
        output.mkdir(parents=True, exist_ok=True)
        count = keep_mined(output, found)
    out.print(f"{output / EXAMPLES}: {count:,} examples", highlight=False)
    note(f"Their texts: {output / PASSAGES}")


def queries(
    output: Output,
    index: IndexPath = DEFAULT_INDEX,
    generator: Annotated[
        str,
        typer.Option("--generator", "-g", help="Language model: a folder, hub name or .gguf."),
    ] = "",
    expensive: Annotated[
        str | None,
        typer.Option(help="Stronger model for the seeds.", show_default="the generator"),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Queries that the stronger model writes.")] = 30,
    count: Annotated[int, typer.Option(help="Queries that the generator writes.")] = 1000,
    depth: Annotated[int, typer.Option(help="A query must find its document so high.")] = 20,
    seed: Seed = 0,
) -> None:
    """Write synthetic queries for an index that has none: queries.jsonl and qrels.tsv (UDAPDR)."""
    from ...engine.errors import InvalidParameterError, TrainingError
    from ...engine.index import Index
    from ...engine.training import synthetic
    from ...engine.training.generators import LocalGenerator

    if not generator:
        raise InvalidParameterError(
            "no generator: name a language model with --generator, such as a .gguf file; chat "
            "models of LangChain are for Python, see docs/training.md."
        )
    cheap = LocalGenerator(generator, seed=seed)
    strong = cheap if expensive is None else LocalGenerator(expensive, seed=seed)
    with Index.open(index) as opened:
        documents = _documents(opened)
        with count_bar("Seeds") as progress:
            drawn = synthetic.sample_documents(documents, seeds, seed=seed)
            first = synthetic.seed_queries(strong, drawn, progress=progress)
        with count_bar("Queries") as progress:
            drawn = synthetic.sample_documents(documents, count, seed=seed + 1)
            made = synthetic.many_queries(cheap, drawn, first, seed=seed, progress=progress)
        every = synthetic.distinct([*first, *made])
        with err.status("Looking for each query's own document…"):
            kept = synthetic.round_trip(opened, every, depth=depth)
    if not kept:
        raise TrainingError(
            f"none of the {len(every):,} queries found its own document among the best {depth}: "
            "take a stronger generator, or a larger --depth"
        )
    _keep_queries(output, *synthetic.as_judgements(kept))
    out.print(f"{output}: {len(kept):,} of {len(every):,} queries kept", highlight=False)


def qa(
    questions: Annotated[Path, typer.Argument(help='JSON lines {"_id", "text", "answers": […]}.')],
    output: Output,
    index: IndexPath = DEFAULT_INDEX,
    start: Start = None,
    dim: Dim = None,
    rounds: Annotated[int, typer.Option(help="Rounds of indexing and training.")] = 2,
    teachers: TeacherNames = None,
    steps: Steps = 500,
    batch: Batch = 16,
    ways: Ways = 8,
    learning_rate: Rate = 2e-5,
    dtype: Dtype = "fp32",
    seed: Seed = 0,
) -> None:
    """Train on questions with known answers, over the documents of an index (ColBERT-QA)."""
    from ...engine.index import Index
    from ...engine.training.answers import AnswerSettings, answer_examples, read_questions
    from ...engine.training.texts import Languages

    asked = read_questions(questions)
    with Index.open(index) as opened:
        documents, tags = _documents(opened), _languages(opened)
    settings = AnswerSettings(negatives=max(ways * 2, 15))
    _rounds(
        documents,
        {id: one.text for id, one in asked.items()},
        lambda current: answer_examples(current, asked, settings=settings),
        start,
        output,
        {"dim": dim, "rounds": rounds, "teachers": teachers, "languages": Languages(tags, {})},
        {"answers": {id: list(one.answers) for id, one in asked.items()}},
        {"steps": steps, "batch": batch, "ways": ways, "learning_rate": learning_rate,
         "dtype": dtype, "seed": seed},
    )  # fmt: skip


def adapt(
    folder: Annotated[
        Path, typer.Argument(help="corpus.jsonl, queries.jsonl and judgements, as BEIR has them.")
    ],
    output: Output,
    split: Annotated[str, typer.Option(help="Judgements to train on.")] = "train",
    start: Start = None,
    dim: Dim = None,
    rounds: Annotated[int, typer.Option(help="Rounds of mining and training.")] = 1,
    teachers: TeacherNames = None,
    positive_bonus: Bonus = 0.0,
    steps: Steps = 500,
    batch: Batch = 16,
    ways: Ways = 8,
    learning_rate: Rate = 2e-5,
    dtype: Dtype = "fp32",
    seed: Seed = 0,
) -> None:
    """Train on a folder's judged queries and measure the model on a fifth of them, held out."""
    from ...engine.evaluation.collections import load_collection
    from ...engine.training import mining
    from ...engine.training.held_out import compare, split_queries
    from ...engine.training.texts import TextMapping

    collection = load_collection(folder, split=split)
    languages = _collection_languages(folder, start)
    texts = TextMapping(collection.queries, "queries", languages.queries)
    kept, held = split_queries(collection.qrels, seed=seed)
    settings = mining.MiningSettings(negatives=max(2 * ways, 15), seed=seed)
    done = _rounds(
        collection.documents,
        collection.queries,
        lambda index: mining.mine(index, texts, kept, settings=settings),
        start,
        output,
        {"dim": dim, "rounds": rounds, "teachers": teachers, "positive_bonus": positive_bonus,
         "languages": languages},
        {"judgements": kept},
        {"steps": steps, "batch": batch, "ways": ways, "learning_rate": learning_rate,
         "dtype": dtype, "seed": seed},
    )  # fmt: skip
    begin, final = done
    with err.status("Measuring on the queries that were held out…"):
        found = compare(collection, held, [begin, final], languages=languages)
    _show(collection, held, found)


def _rounds(
    documents: Mapping[str, str],
    texts: Mapping[str, str],
    examples: Any,
    start: str | None,
    output: Path,
    how: dict[str, Any],
    source: dict[str, Any],
    training: dict[str, Any],
) -> tuple[Path, Path]:
    """Prepare a start and train in rounds; returns the folders of start and result.

    Args:
        documents, texts: of the documents and the queries, by id.
        examples: makes them of an index.
        start: checkpoint to begin with.
        output: of all that is made.
        how: options of the start and the rounds.
        source: what the examples are made of, which a run that is gone on with must share.
        training: settings of the training.
    """
    from ...engine.training.identity import digest_of
    from ...engine.training.processes import require_alone
    from ...engine.training.rounds import train_rounds
    from ...engine.training.starting import prepare
    from ...engine.training.synthetic import sample_documents

    require_alone("training in rounds")
    teacher = load_teacher(how["teachers"])
    settings = settings_of(warmup=None, loss="binary" if teacher is None else "distil", **training)
    begin = output / "start"
    if not begin.is_dir():
        sample = list(sample_documents(documents, 256).values())
        begin = prepare(start, begin, dim=how["dim"], sample=sample)
    if teacher is None:
        note("Without a teacher the positives count as right and all else as wrong.")
    with step_bar() as progress:
        done = train_rounds(
            documents,
            texts,
            examples,
            begin,
            output,
            settings,
            rounds=how["rounds"],
            teacher=teacher,
            positive_bonus=how.get("positive_bonus", 0.0),
            languages=how["languages"],
            told={
                **start_told(start, how["dim"]),
                "teachers": how["teachers"] or [],
                **{key: digest_of(value) for key, value in source.items()},
            },
            progress=progress,
            stage=note,
        )
    out.print(f"{done[-1].model}", highlight=False)
    return begin, done[-1].model


def _documents(index: Index) -> dict[str, str]:
    announce(index.encoder, quiet=False)
    with index.snapshot() as view:
        ids = list(view.ids())
        found = view.get(ids)
    return {one.id: one.text for one in found if one is not None}


def _languages(index: Index) -> dict[str, str]:
    """Of the documents that have one."""
    with index.snapshot() as view:
        found = view.get(list(view.ids()))
    return {one.id: one.language for one in found if one is not None and one.language}


def _collection_languages(folder: Path, start: str | None) -> Languages:
    """Tags in a folder of BEIR's layout, where the start has adapters for them."""
    from ...engine.encoder.checkpoint import read_checkpoint
    from ...engine.encoder.source import locate
    from ...engine.evaluation import beir
    from ...engine.training.texts import NO_LANGUAGES, Languages, read_languages

    adapters = read_checkpoint(locate(start).folder).languages
    if not adapters or not any(folder.glob("corpus.jsonl*")):
        return NO_LANGUAGES
    documents, queries = (beir.find(folder, f"{name}.jsonl") for name in ("corpus", "queries"))
    return Languages(read_languages(documents), read_languages(queries))


def _keep_queries(
    output: Path, texts: Mapping[str, str], judged: Mapping[str, Mapping[str, int]]
) -> None:
    from ...engine.training.texts import write_texts

    output.mkdir(parents=True, exist_ok=True)
    write_texts(output / "queries.jsonl", texts)
    rows = [f"{id}\t{document}\t1" for id, found in judged.items() for document in found]
    (output / "qrels.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def _show(
    collection: Collection, held: Mapping[str, Mapping[str, int]], found: dict[str, float]
) -> None:
    from rich.table import Table

    out.print(f"{collection.name}: nDCG@10 on {len(held):,} queries that were held out")
    table = Table(box=None, pad_edge=False)
    table.add_column("system")
    table.add_column("nDCG@10", justify="right")
    for name, value in found.items():
        table.add_row(name, f"{value:.4f}")
    out.print(table)
