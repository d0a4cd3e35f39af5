"""N-way examples: JSON lines of a query, its passages and a teacher's scores of them.

A line is `[query id, [passage id, score], [passage id, score], …]`, the positive first, as the
public ColBERTv2 data has it. `[query id, passage id, passage id, …]` is the same without scores,
for training with binary labels.

Source: Santhanam et al. 2022 (ColBERTv2), section 3.2.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import InvalidInputError, InvalidTrainingDataError
from ..evaluation.lines import raw_lines
from ..shown import shown

LARGEST_SCORE: Final = 1e30
"""Scores are compared in float32, which ends at 3e38."""

SMALLEST_SPREAD: Final = 1e-6
"""Scores of one line that lie closer together than this say nothing: the teacher collapsed."""


@dataclass(frozen=True, slots=True)
class Example:
    """One line.

    Args:
        query_id: of the query.
        passage_ids: the positive first.
        scores: the teacher's, one per passage; empty where the line has none.
        where: file and line, for messages.
    """

    query_id: str
    passage_ids: tuple[str, ...]
    scores: tuple[float, ...]
    where: str


class NWayFile:
    """A file of n-way examples, checked line by line when opened and read again when needed.

    Only the lines' places are kept in memory: 16 bytes each.

    Args:
        path: JSON lines, not compressed.
        scored: demand a score with every passage, and scores that differ.
        ways: passages that each line must hold at least; 2 by default.

    Attributes:
        scored: whether every line is known to have scores that differ.
        shortest: fewest passages of a line, and the number of the first such example.
        fingerprint: tells other examples from these.

    Raises:
        InvalidTrainingDataError: a line that is no example; names file and line.
    """

    def __init__(self, path: str | Path, *, scored: bool = True, ways: int = 2) -> None:
        self.path = Path(path)
        self.scored, self._ways = scored, max(2, ways)
        if self.path.suffix == ".gz":
            raise InvalidTrainingDataError(
                f"{self.path} is compressed, and examples are read in random order: unpack it "
                f"with gzip -d {self.path.name}"
            )
        self._offsets, self._lines = array("q"), array("q")
        self.shortest: tuple[int, int] = (0, 0)
        self.fingerprint = self._index()

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, number: int) -> Example:
        """The example of that number, from 0, in the order of the file."""
        with self.path.open("rb") as file:
            file.seek(self._offsets[number])
            return self._parse(file.readline(), self._lines[number])

    def __iter__(self) -> Iterator[Example]:
        for number, raw in enumerate(_raw(self.path), 1):
            if raw.strip():
                yield self._parse(raw, number)

    def _index(self) -> str:
        """Note offset and line number of each example; reads and checks them all once."""
        digest = hashlib.blake2b(digest_size=16)
        offset = 0
        for number, raw in enumerate(_raw(self.path), 1):
            digest.update(raw)
            if raw.strip():
                found = len(self._parse(raw, number).passage_ids)
                if not self._offsets or found < self.shortest[0]:
                    self.shortest = (found, len(self._offsets))
                self._offsets.append(offset)
                self._lines.append(number)
            offset += len(raw)
        if not self._offsets:
            raise InvalidTrainingDataError(f"{self.path} holds no example")
        return digest.hexdigest()

    def _parse(self, raw: bytes, line: int) -> Example:
        where = f"{self.path}, line {line}"
        example = parse_example(raw, where)
        if len(example.passage_ids) < self._ways:
            raise InvalidTrainingDataError(
                f"{where} has {len(example.passage_ids)} passages; at least {self._ways} are needed"
            )
        if self.scored:
            require_scores(example)
        return example


def parse_example(raw: bytes | str, where: str) -> Example:
    """Read one line.

    Raises:
        InvalidTrainingDataError: it is no example; names `where`.
    """
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InvalidTrainingDataError(f"{where} is not JSON: {error}") from error
    if not isinstance(found, list) or len(found) < 2:
        raise InvalidTrainingDataError(
            f"{where} must look like [query id, [passage id, score], …], not {shown(found)}"
        )
    pairs = [_pair(entry, where) for entry in found[1:]]
    ids = tuple(id for id, _ in pairs)
    if len(set(ids)) < len(ids):
        twice = next(id for n, id in enumerate(ids) if id in ids[:n])
        raise InvalidTrainingDataError(f"{where} names passage {shown(twice)} twice")
    given = [score for _, score in pairs if score is not None]
    if given and len(given) < len(ids):
        raise InvalidTrainingDataError(f"{where} has scores with some of its passages only")
    return Example(_id(found[0], where), ids, tuple(given), where)


def require_scores(example: Example) -> None:
    """Refuse an example that a teacher's distribution cannot be made of.

    Raises:
        InvalidTrainingDataError: it has no scores, or they are all the same.
    """
    if not example.scores:
        raise InvalidTrainingDataError(
            f"{example.where} has no scores, which distillation needs: score the file with a "
            "teacher first (weft train score), or train with binary labels"
        )
    if max(example.scores) - min(example.scores) < SMALLEST_SPREAD:
        raise InvalidTrainingDataError(
            f"{example.where}: the teacher gives all {len(example.scores)} passages the score "
            f"{example.scores[0]:g}; labels that have collapsed teach nothing. Leave the line "
            "out, or score it with another teacher"
        )


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Write examples as JSON lines, whole or not at all, and return how many there were."""
    aside = path.with_name(path.name + ".part")
    count = 0
    with aside.open("w", encoding="utf-8") as file:
        for example in examples:
            file.write(example_line(example))
            count += 1
    aside.replace(path)
    return count


def example_line(example: Example) -> str:
    """An example as a line of JSON, its line break included."""
    entries: list[Any] = list(example.passage_ids)
    if example.scores:
        entries = [list(pair) for pair in zip(example.passage_ids, example.scores, strict=True)]
    return json.dumps([example.query_id, *entries], ensure_ascii=False) + "\n"


def _pair(entry: object, where: str) -> tuple[str, float | None]:
    if not isinstance(entry, list):
        return _id(entry, where), None
    if len(entry) != 2:
        raise InvalidTrainingDataError(f"{where}: {shown(entry)} is no [passage id, score]")
    score = entry[1]
    known = isinstance(score, int | float) and not isinstance(score, bool)
    # NaN is not below anything either.
    if not known or not abs(score) < LARGEST_SCORE:
        raise InvalidTrainingDataError(
            f"{where}: the score of passage {shown(entry[0])} is {shown(score)}, not a finite "
            f"number below {LARGEST_SCORE:g}"
        )
    return _id(entry[0], where), float(score)


def _id(value: object, where: str) -> str:
    """Ids are strings, or the whole numbers of the public data."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise InvalidTrainingDataError(f"{where}: {shown(value)} is no id (a string or whole number)")


def _raw(path: Path) -> Iterator[bytes]:
    try:
        yield from raw_lines(path)
    except InvalidInputError as error:
        raise InvalidTrainingDataError(str(error)) from error
