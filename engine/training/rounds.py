"""Rounds of training: index with the current model, make examples, score them, distil, again.

Each round's negatives (and, in relevance-guided supervision, positives) come from the model that
the round before gave. Every stage leaves its result under a name of its own when it is complete,
so that a killed run goes on with the stage it was in.

Source: Santhanam et al. 2022 (ColBERTv2), section 3.2; Khattab et al. 2021 (ColBERT-QA),
section 3.2.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..documents import Document
from ..encoder import load_encoder
from ..errors import InvalidParameterError, InvalidTrainingDataError
from ..index import Index
from .data import TextSource, TrainingData
from .distillation import MODEL, Distillation, Progress
from .identity import keep_or_require
from .mining import Mined
from .nway import NWayFile, example_line, write_examples
from .scoring import score_examples
from .settings import TrainingSettings
from .teachers import Teacher
from .texts import (
    NO_LANGUAGES,
    Languages,
    TextMapping,
    Texts,
    text_lines,
    texts_digest,
)
from .trainable import TrainableEncoder

EXAMPLES, SCORED, PASSAGES, INDEX = "mined.jsonl", "examples.jsonl", "passages.jsonl", "index"

Examples = Callable[[Index], Iterable[Mined]]
"""Makes examples with an index of the current model."""

Stage = Callable[[str], None]
"""Called with a sentence when a stage begins."""


@dataclass(frozen=True, slots=True)
class Round:
    """What a round left.

    Args:
        number: from 1.
        model: folder of the trained model.
        n_examples: that it was trained on.
    """

    number: int
    model: Path
    n_examples: int


def train_rounds(
    documents: Mapping[str, str],
    queries: Mapping[str, str],
    examples: Examples,
    start: Path,
    folder: Path,
    settings: TrainingSettings,
    *,
    rounds: int = 1,
    teacher: Teacher | None = None,
    positive_bonus: float = 0.0,
    languages: Languages = NO_LANGUAGES,
    told: Mapping[str, object] | None = None,
    progress: Progress | None = None,
    stage: Stage | None = None,
) -> list[Round]:
    """Train for some rounds; run again after a crash, they go on where they were.

    Args:
        documents: document id to text.
        queries: text of each query that examples may name.
        examples: makes them from an index, by `mine` or `answer_examples`.
        start: folder of the late-interaction checkpoint to begin with.
        folder: of all that the rounds leave, `round-<number>` each.
        settings: of each round's training; `loss="binary"` where there is no teacher.
        rounds: how many.
        teacher: scores the examples that come without scores.
        positive_bonus: added to the positive's score.
        languages: of documents and queries, for a start whose backbone has adapters.
        told: what else a run that is gone on with must share, in JSON values: where examples
            and teacher come from.
        progress: called after each step.
        stage: called when a stage begins.

    Raises:
        InvalidParameterError: there are no more documents than passages in a list.
        InvalidTrainingDataError: a round found no example.
        TrainingError: the folder holds rounds of another run.
    """
    if len(documents) <= settings.ways:
        raise InvalidParameterError(
            f"{len(documents)} documents are too few for lists of {settings.ways} passages: use "
            f"ways={max(2, len(documents) // 2)} or fewer, or more documents."
        )
    tell = stage or (lambda _: None)
    asked = TextMapping(queries, "queries", languages.queries)
    keep_or_require(
        folder,
        {
            **settings.identity(),
            **(told or {}),
            "positive_bonus": positive_bonus,
            "documents": texts_digest(documents),
            "queries": texts_digest(queries),
            "languages": texts_digest({**languages.documents, **languages.queries}),
        },
    )
    done: list[Round] = []
    for number in range(1, rounds + 1):
        place = folder / f"round-{number}"
        place.mkdir(parents=True, exist_ok=True)
        label = f"round {number} of {rounds}"
        if not (place / SCORED).is_file():
            tell(f"{label}: indexing with {start.name}")
            with index_documents(place / INDEX, documents, start, languages.documents) as index:
                tell(f"{label}: making examples")
                _make_examples(place, examples(index))
            tell(f"{label}: scoring examples")
            _score(place, asked, teacher, positive_bonus)
        scored = settings.loss == "distil"
        data = TrainingData(NWayFile(place / SCORED, scored=scored), asked, Texts(place / PASSAGES))
        tell(f"{label}: training on {len(data.examples):,} examples")
        if not (place / MODEL).is_dir():
            encoder = TrainableEncoder.load(start)
            Distillation(encoder, data, settings, place, progress=progress).run()
        start = place / MODEL
        done.append(Round(number, start, len(data.examples)))
    return done


def index_documents(
    folder: Path,
    documents: Mapping[str, str],
    model: Path | str,
    languages: Mapping[str, str] | None = None,
) -> Index:
    """An index of documents, made once; one that was not finished is made anew."""
    if not folder.is_dir():
        aside = folder.with_name(folder.name + ".part")
        shutil.rmtree(aside, ignore_errors=True)
        with Index.create(aside, encoder=load_encoder(model)) as index:
            tags = languages or {}
            index.add([Document(id, text, language=tags.get(id)) for id, text in documents.items()])
            index.compact()
        aside.rename(folder)
    return Index.open(folder, encoder=load_encoder(model))


def keep_mined(place: Path, mined: Iterable[Mined]) -> int:
    """Write examples and the texts of their passages into a folder; returns their number.

    They are written as they come; only the ids of passages are kept in memory.

    Raises:
        InvalidTrainingDataError: there is no example.
    """
    asides = [place / f"{name}.part" for name in (PASSAGES, EXAMPLES)]
    count, known = 0, set[str]()
    with (
        asides[0].open("w", encoding="utf-8") as texts,
        asides[1].open("w", encoding="utf-8") as examples,
    ):
        for one in mined:
            new = {id: text for id, text in one.passages.items() if id not in known}
            texts.writelines(text_lines(new, one.languages))
            known.update(new)
            examples.write(example_line(one.example))
            count += 1
    if not count:
        for aside in asides:
            aside.unlink()
        raise InvalidTrainingDataError(
            "no example could be made: no query has both a relevant passage in the index and "
            "others beside it. Do the judgements name documents of this collection?"
        )
    asides[0].replace(place / PASSAGES)
    asides[1].replace(place / EXAMPLES)
    return count


def _make_examples(place: Path, mined: Iterable[Mined]) -> None:
    if not (place / EXAMPLES).is_file():
        keep_mined(place, mined)


def _score(place: Path, queries: TextSource, teacher: Teacher | None, bonus: float) -> None:
    """Put the examples in their place for training, with a teacher's scores if there is one."""
    if teacher is None:
        shutil.copyfile(place / EXAMPLES, place / f"{SCORED}.part")
        (place / f"{SCORED}.part").rename(place / SCORED)
        return
    data = TrainingData(NWayFile(place / EXAMPLES, scored=False), queries, Texts(place / PASSAGES))
    write_examples(place / SCORED, score_examples(data, teacher, positive_bonus=bonus))
