"""Lets a teacher score n-way examples, for distillation."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from ..errors import InvalidTrainingDataError, TrainingError
from .data import TrainingData
from .nway import SMALLEST_SPREAD, Example, example_line, parse_example, write_examples
from .teachers import Teacher, warm

_COLLAPSED: Final = 0.5
_AT_ONCE: Final = 128

Progress = Callable[[int, int], None]
"""Called with the number of examples that are done, and of all."""


def score_examples(
    data: TrainingData,
    teacher: Teacher,
    *,
    positive_bonus: float = 0.0,
    progress: Progress | None = None,
) -> list[Example]:
    """The examples with a teacher's scores in place of those they had.

    Args:
        data: examples and texts.
        teacher: scores each example's passages together.
        positive_bonus: added to the positive's score: what a judgement counts for beside the
            teacher's opinion, in the teacher's own unit.
        progress: called after each example.

    Returns:
        The examples in order; those whose scores are all the same are left out.

    Raises:
        TrainingError: a score is NaN or infinite.
        InvalidTrainingDataError: the teacher gives all passages the same score in half of the
            examples or more: its labels have collapsed.
    """
    return _useful(list(_scored(data, teacher, positive_bonus, progress)))


def score_file(
    data: TrainingData,
    teacher: Teacher,
    path: Path,
    *,
    positive_bonus: float = 0.0,
    told: Mapping[str, object] | None = None,
    progress: Progress | None = None,
) -> int:
    """Score examples into a file; killed, it goes on with the example that it was at.

    What is scored so far stands in `path` with `.part` behind its name. The arguments and errors
    not named here are those of `score_examples`.

    Args:
        path: of the scored examples; written whole or not at all.
        told: what else the part must share that is gone on with, in JSON values: the teacher's
            name. Another part is begun anew.

    Returns:
        The number of examples that were kept.
    """
    part = path.with_name(path.name + ".part")
    identity = [data.fingerprint(), positive_bonus, dict(told or {})]
    header = json.dumps(identity, ensure_ascii=False) + "\n"
    done = _go_on(part, header)
    with part.open("a", encoding="utf-8") as file:
        if not done:
            file.truncate(0)
            file.write(header)
        for example in _scored(data, teacher, positive_bonus, progress, done):
            file.write(example_line(example))
            file.flush()
    with part.open("rb") as lines:
        lines.readline()
        scored = [
            parse_example(raw, example.where)
            for raw, example in zip(lines, data.examples, strict=True)
        ]
    kept = _useful(scored)
    whole = path.with_name(path.name + ".new")
    write_examples(whole, kept)
    whole.replace(path)
    part.unlink()
    return len(kept)


def _go_on(part: Path, header: str) -> int:
    """How many examples a part holds; a line that was not finished is cut off."""
    if not part.is_file():
        return 0
    with part.open("rb+") as file:
        if file.readline() != header.encode("utf-8"):
            return 0
        done, end = 0, file.tell()
        for raw in file:
            if not raw.endswith(b"\n"):
                break
            done, end = done + 1, end + len(raw)
        file.truncate(end)
    return done


def _useful(found: list[Example]) -> list[Example]:
    kept = [one for one in found if _spread(one.scores) >= SMALLEST_SPREAD]
    if len(kept) <= _COLLAPSED * len(found):
        first = next(one for one in found if _spread(one.scores) < SMALLEST_SPREAD)
        raise InvalidTrainingDataError(
            f"{first.where}: the teacher gives all passages the score {first.scores[0]:g}, and "
            f"likewise in {len(found) - len(kept):,} of {len(found):,} examples: its labels have "
            "collapsed and would teach nothing. Use another teacher, or train this one longer or "
            "with a lower learning rate"
        )
    return kept


def _scored(
    data: TrainingData, teacher: Teacher, bonus: float, progress: Progress | None, done: int = 0
) -> Iterator[Example]:
    total = len(data.examples)
    for number in range(done + 1, total + 1):
        example = data.examples[number - 1]
        if number % _AT_ONCE == 1 or number == done + 1:
            _warm(data, teacher, range(number - 1, min(total, number - 1 + _AT_ONCE)))
        texts = [data.passages.record(id).text for id in example.passage_ids]
        scores = teacher.score(data.queries.record(example.query_id).text, texts)
        if not np.isfinite(scores).all():
            raise TrainingError(
                f"{example.where}: the teacher gave NaN or infinity; its weights are damaged, or "
                "bf16 is too coarse for it: try dtype='fp32'"
            )
        values = [float(score) for score in scores]
        # A bonus must not hide that the teacher says nothing.
        if _spread(values) >= SMALLEST_SPREAD:
            values[0] += bonus
        yield Example(example.query_id, example.passage_ids, tuple(values), example.where)
        if progress is not None:
            progress(number, total)


def _warm(data: TrainingData, teacher: Teacher, numbers: range) -> None:
    """Let the teacher make ready for the next examples together: they share passages."""
    some = [data.examples[number] for number in numbers]
    queries = [data.queries.record(one.query_id).text for one in some]
    ids = dict.fromkeys(id for one in some for id in one.passage_ids)
    warm(teacher, queries, [data.passages.record(id).text for id in ids])


def _spread(scores: Sequence[float]) -> float:
    return max(scores) - min(scores)
