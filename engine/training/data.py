"""What a run is trained on: examples, and the texts behind their ids."""

from __future__ import annotations

import hashlib
import random
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from ..encoder.checkpoint import Checkpoint
from ..encoder.languages import group_by_language
from ..errors import InvalidParameterError, InvalidTrainingDataError
from ..shown import shown
from .nway import Example, NWayFile, require_scores
from .texts import Text


class TextSource(Protocol):
    """Texts by id, with their languages: `Texts`, or `TextMapping` for what is in memory."""

    @property
    def fingerprint(self) -> str:
        """Tells other texts from these."""

    def __contains__(self, id: object) -> bool: ...

    def __len__(self) -> int: ...

    def record(self, id: str) -> Text:
        """Text and language of an id."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The examples of one step.

    Args:
        examples: each with exactly `ways` passages, the positive first.
        queries: one record per example.
        passages: `ways` records per example, example after example.
    """

    examples: list[Example]
    queries: list[Text]
    passages: list[Text]


class TrainingData:
    """Examples whose ids all have a text.

    Args:
        examples: n-way lines.
        queries, passages: the texts of their ids.

    Raises:
        InvalidTrainingDataError: an id has no text; names the example's line.
    """

    def __init__(self, examples: NWayFile, queries: TextSource, passages: TextSource) -> None:
        self.examples, self.queries, self.passages = examples, queries, passages
        for example in examples:
            self._require(example)

    def _require(self, example: Example) -> None:
        if example.query_id not in self.queries:
            raise InvalidTrainingDataError(
                f"{example.where}: query {shown(example.query_id)} has no text in the file of "
                "queries. Are the two files of one collection?"
            )
        for id in example.passage_ids:
            if id not in self.passages:
                raise InvalidTrainingDataError(
                    f"{example.where}: passage {shown(id)} has no text in the collection. Are the "
                    "two files of one collection?"
                )

    def require_languages(self, checkpoint: Checkpoint) -> None:
        """Refuse texts in a language that a checkpoint's adapters do not know.

        Raises:
            InvalidTrainingDataError: names the line of the text.
        """
        if not checkpoint.languages:
            return
        for example in self.examples:
            records = [self.queries.record(example.query_id)]
            records += [self.passages.record(id) for id in example.passage_ids]
            for record in records:
                try:
                    group_by_language(checkpoint, 1, [record.language])
                except InvalidParameterError as error:
                    raise InvalidTrainingDataError(f"{record.where}: {error}") from error

    def require_scores(self) -> None:
        """Refuse examples without scores, or whose scores are all the same.

        Raises:
            InvalidTrainingDataError: names the line.
        """
        if self.examples.scored:
            return
        for example in self.examples:
            require_scores(example)

    def require_ways(self, ways: int) -> None:
        """Refuse lines with fewer passages than training takes of each.

        Raises:
            InvalidTrainingDataError: names the line.
        """
        fewest, number = self.examples.shortest
        if fewest < ways:
            raise _too_few(self.examples[number], ways)

    def fingerprint(self) -> str:
        """Tells other data from these: a digest of examples, queries and passages."""
        parts = (self.examples.fingerprint, self.queries.fingerprint, self.passages.fingerprint)
        return hashlib.blake2b(" ".join(parts).encode(), digest_size=16).hexdigest()

    def batch(self, numbers: Sequence[tuple[int, int]], ways: int, seed: int) -> Batch:
        """The examples of those (epoch, number) pairs, each cut to `ways` passages.

        Which negatives a longer line gives depends on seed, epoch and number alone.

        Raises:
            InvalidTrainingDataError: a line has fewer passages than `ways`.
        """
        examples = [
            _cut(self.examples[number], ways, f"{seed} {epoch} {number}")
            for epoch, number in numbers
        ]
        return Batch(
            examples,
            [self.queries.record(one.query_id) for one in examples],
            [self.passages.record(id) for one in examples for id in one.passage_ids],
        )


def order(count: int, step: int, batch: int, seed: int) -> list[tuple[int, int]]:
    """The (epoch, number) pairs of a step: each epoch is a permutation of its own.

    A function of its arguments alone, so that a resumed run sees the batches it would have seen.
    """
    places = range(step * batch, (step + 1) * batch)
    return [
        (place // count, _permutation(count, place // count, seed)[place % count])
        for place in places
    ]


# A step may need the end of one epoch and the beginning of the next.
@lru_cache(maxsize=2)
def _permutation(count: int, epoch: int, seed: int) -> array[int]:
    numbers = array("q", range(count))
    random.Random(f"order {seed} {epoch}").shuffle(numbers)
    return numbers


def _too_few(example: Example, ways: int) -> InvalidTrainingDataError:
    return InvalidTrainingDataError(
        f"{example.where} has {len(example.passage_ids)} passages, fewer than the {ways} ways "
        "of training: mine more, or train with fewer ways"
    )


def _cut(example: Example, ways: int, seed: str) -> Example:
    if len(example.passage_ids) < ways:
        raise _too_few(example, ways)
    others = range(1, len(example.passage_ids))
    drawn = sorted(random.Random(f"negatives {seed}").sample(others, ways - 1))
    kept = [0, *drawn]
    return Example(
        example.query_id,
        tuple(example.passage_ids[n] for n in kept),
        tuple(example.scores[n] for n in kept) if example.scores else (),
        example.where,
    )
