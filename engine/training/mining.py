"""Hard negatives from our own index: what the current model finds and nobody judged relevant.

Examples are made of passages, the unit that is scored. The positive of a judged document is the
passage of it that the current model likes best, since a judgement does not say which one is meant.

Source: Santhanam et al. 2022 (ColBERTv2), section 3.2; the filter of suspiciously good negatives
follows Qu et al. 2021 (RocketQA), section 3.2.2.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from ... import kernels
from ..documents import Hit
from ..encoder.base import Encoder, FloatArray
from ..errors import InvalidParameterError, InvalidTrainingDataError
from ..index import Index
from ..shown import shown
from ..view import IndexView
from .nway import Example
from .teachers import Teacher

_QUERIES_AT_ONCE: Final = 32
MAX_DEPTH: Final = 10_000

Progress = Callable[[int, int], None]
"""Called with the number of queries that are done, and of all."""


@dataclass(frozen=True, slots=True)
class MiningSettings:
    """Which passages become negatives.

    Args:
        depth: passages that are retrieved per query.
        negatives: kept per query; half are the best ones, the others are drawn from the rest.
        skip: best negatives that are passed over, since they may be relevant though unjudged.
        margin: with a teacher, leave out negatives that it scores above the positive's score
            less this margin; None keeps them, for a teacher whose scores are distilled anyway.
        positives: judged documents of a query that each make an example; the first ones.
        seed: of the drawing.

    Raises:
        InvalidParameterError: a setting outside its range.
    """

    depth: int = 100
    negatives: int = 31
    skip: int = 0
    margin: float | None = None
    positives: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("depth", 1, MAX_DEPTH),
            ("negatives", 1, MAX_DEPTH),
            ("skip", 0, MAX_DEPTH),
            ("positives", 1, MAX_DEPTH),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise InvalidParameterError(
                    f"{name} is {value!r}: use a whole number from {low} to {high}."
                )
        if self.margin is not None and not math.isfinite(self.margin):
            raise InvalidParameterError(f"margin is {self.margin}: use a finite number, or None.")
        if self.depth <= self.skip:
            raise InvalidParameterError(
                f"depth is {self.depth} and skip {self.skip}: nothing is left to draw from."
            )


@dataclass(frozen=True, slots=True)
class Mined:
    """An example and the texts of its passages.

    Args:
        example: passage ids are `document id#ordinal`; scores are the teacher's, if there is one.
        passages: passage id to text.
        languages: passage id to BCP-47 tag, where the index's encoder has language adapters.
    """

    example: Example
    passages: dict[str, str]
    languages: dict[str, str] = field(default_factory=dict)


def mine(
    index: Index,
    queries: Mapping[str, str],
    judged: Mapping[str, Mapping[str, int]],
    *,
    settings: MiningSettings | None = None,
    teacher: Teacher | None = None,
    progress: Progress | None = None,
) -> Iterator[Mined]:
    """Make examples of judged queries and what the index finds for them.

    Queries without a relevant document in the index, or without any negative, give none. What
    reads like the positive or the query, whatever its id, is no negative, and no text is one twice.

    Args:
        index: of the collection, with the current model as its encoder.
        queries: query id to text.
        judged: query id to document id to grade; 1 or more is relevant.
        settings: which passages become negatives.
        teacher: scores positives and negatives; None leaves the examples without scores.
        progress: called as queries are done.

    Raises:
        InvalidTrainingDataError: a judgement names a query without a text.
    """
    settings = settings or MiningSettings()
    unknown = next((id for id in judged if id not in queries), None)
    if unknown is not None:
        raise InvalidTrainingDataError(
            f"the judgements name query {shown(unknown)}, which has no text: are the two of one "
            "collection?"
        )
    relevant = {id: _relevant(grades) for id, grades in judged.items()}
    ids = [id for id, documents in relevant.items() if documents]
    with index.snapshot() as view:
        for first in range(0, len(ids), _QUERIES_AT_ONCE):
            some = ids[first : first + _QUERIES_AT_ONCE]
            texts = [queries[id] for id in some]
            asked = query_vectors(index.encoder, queries, some)
            found = view.search_batch(asked, settings.depth, group_by="passage")
            for id, text, vectors, hits in zip(some, texts, asked, found, strict=True):
                one = _Query(id, text, vectors, view, index.encoder)
                for document in relevant[id][: settings.positives]:
                    mined = _example(one, document, set(relevant[id]), hits, settings, teacher)
                    if mined is not None:
                        yield with_languages(mined, view, index.encoder)
            if progress is not None:
                progress(min(len(ids), first + len(some)), len(ids))


def query_vectors(
    encoder: Encoder, queries: Mapping[str, str], ids: Sequence[str]
) -> list[FloatArray]:
    """Vectors of queries, each through its language's adapter where the encoder has some.

    Args:
        encoder: float32 [tokens, dim] per query comes from it.
        queries: texts by id; `Texts` and `TextMapping` know languages too.
        ids: which ones.
    """
    texts = [queries[id] for id in ids]
    record = getattr(queries, "record", None)
    if not getattr(encoder, "languages", ()) or record is None:
        return encoder.encode_queries(texts)
    # Only checkpoints have adapters, and their method takes languages beside the protocol's texts.
    checkpoint: Any = encoder
    found: list[FloatArray] = checkpoint.encode_queries(
        texts, languages=[record(id).language for id in ids]
    )
    return found


def with_languages(mined: Mined, view: IndexView, encoder: Encoder) -> Mined:
    """The example with its passages' languages, where the encoder has adapters for them."""
    if not getattr(encoder, "languages", ()):
        return mined
    owners = {id: id.rpartition("#")[0] for id in mined.passages}
    documents = view.get(list(dict.fromkeys(owners.values())))
    known = {one.id: one.language for one in documents if one is not None and one.language}
    return replace(mined, languages={p: known[d] for p, d in owners.items() if d in known})


def _relevant(grades: Mapping[str, int]) -> list[str]:
    return sorted((id for id, grade in grades.items() if grade >= 1), key=lambda id: -grades[id])


@dataclass(frozen=True, slots=True)
class _Query:
    """A query, and where to look for its documents."""

    id: str
    text: str
    vectors: FloatArray
    view: IndexView
    encoder: Encoder


def _example(
    query: _Query,
    document: str,
    relevant: set[str],
    hits: Sequence[Hit],
    settings: MiningSettings,
    teacher: Teacher | None,
) -> Mined | None:
    positive = _positive(query, document, hits)
    if positive is None:
        return None
    others = _negatives(hits, relevant, {query.text, positive[1]})[settings.skip :]
    chosen = [positive, *_draw(others, settings, f"{settings.seed} {query.id} {document}")]
    scores: list[float] = []
    if teacher is not None:
        found = teacher.score(query.text, [text for _, text in chosen])
        scores = [float(score) for score in found]
        if settings.margin is not None:
            ceiling = scores[0] - settings.margin
            kept = [n for n, score in enumerate(scores) if n == 0 or score <= ceiling]
            chosen, scores = [chosen[n] for n in kept], [scores[n] for n in kept]
    if len(chosen) < 2:
        return None
    ids = tuple(id for id, _ in chosen)
    where = f"query {shown(query.id)}"
    return Mined(Example(query.id, ids, tuple(scores), where), dict(chosen))


def _negatives(hits: Sequence[Hit], relevant: set[str], known: set[str]) -> list[tuple[str, str]]:
    """The hits that may be wrong answers, by rank: each text once, and none that is known.

    Collections hold documents twice, and some (duplicate questions, arguments) the query itself.
    What reads as the positive does would be taught as right and wrong at once.
    """
    seen = {_plain(text) for text in known}
    seen |= {_plain(hit.passage.text) for hit in hits if hit.id in relevant}
    found: list[tuple[str, str]] = []
    for hit in hits:
        text = _plain(hit.passage.text)
        if hit.id not in relevant and text not in seen:
            seen.add(text)
            found.append((passage_id(hit), hit.passage.text))
    return found


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _draw(
    others: list[tuple[str, str]], settings: MiningSettings, seed: str
) -> list[tuple[str, str]]:
    """The best half of the negatives, and as many drawn from those behind them, in rank order."""
    wanted = min(settings.negatives, len(others))
    best = (wanted + 1) // 2
    rest = range(best, len(others))
    drawn = sorted(random.Random(seed).sample(rest, wanted - best))
    return others[:best] + [others[n] for n in drawn]


def _positive(query: _Query, document: str, hits: Sequence[Hit]) -> tuple[str, str] | None:
    """A relevant document's best passage: the one retrieved, or found by scoring them all."""
    for hit in hits:
        if hit.id == document:
            return passage_id(hit), hit.passage.text
    found = query.view.get(document)
    if found is None:
        return None
    texts = [found.text[start:end] for start, end in query.encoder.split(found.text)]
    vectors = query.encoder.encode_passages(texts, languages=[found.language] * len(texts))
    offsets = np.cumsum([0, *map(len, vectors)], dtype=np.int64)
    rows = np.ascontiguousarray(np.concatenate(vectors), dtype=np.float32)
    best = int(np.argmax(kernels.maxsim(query.vectors, rows, offsets)))
    return f"{document}#{best}", texts[best]


def passage_id(hit: Hit) -> str:
    """The id of a hit's passage in examples: its document's and its ordinal."""
    return f"{hit.id}#{hit.passage.ordinal}"
