"""Synthetic queries for a collection that has none: few expensive ones, then many cheap ones.

A strong model writes queries for a few passages. They become examples in the prompts of a cheap
model, which writes queries for many passages. What does not lead back to its own passage is
dropped. The rest are judgements: mining, scoring and distillation go on from them.

Source: Saad-Falcon et al. 2023 (UDAPDR), section 3; the round trip after Alberti et al. 2019
(Synthetic QA corpora generation with roundtrip consistency).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import InvalidParameterError, TrainingError
from ..index import Index
from .generators import Generator

_MOST_WORDS: Final = 40
_FEWEST_WORDS: Final = 3
PASSAGE_CHARACTERS: Final = 1200
"""Of a document that a model is shown by default."""

_AT_ONCE: Final = 32

Progress = Callable[[int, int], None]
"""Called with the number of passages that are done, and of all."""

STYLES: Final = (
    "Write one question that this passage answers. Name what it is about; never say 'passage'.",
    "Write one search query, as somebody would type it who needs exactly this passage.",
    "Write one statement of fact that this passage supports, in a single sentence.",
)
"""What the expensive model is asked for, in turn: questions, key words and claims."""


@dataclass(frozen=True, slots=True)
class SyntheticQuery:
    """A query that was made for a document.

    Args:
        text: of the query.
        document_id: what it was made from.
        passage: the text that the model saw.
    """

    text: str
    document_id: str
    passage: str


def sample_documents(
    documents: Mapping[str, str], count: int, *, seed: int = 0, shortest: int = 200
) -> dict[str, str]:
    """Documents to write queries for, drawn from those of at least `shortest` characters."""
    long = [id for id, text in documents.items() if len(text) >= shortest] or list(documents)
    chosen = random.Random(f"documents {seed}").sample(long, min(count, len(long)))
    return {id: documents[id] for id in chosen}


def seed_queries(
    generator: Generator,
    documents: Mapping[str, str],
    *,
    characters: int = PASSAGE_CHARACTERS,
    progress: Progress | None = None,
) -> list[SyntheticQuery]:
    """Ask an expensive model for one query per document, in the styles by turns.

    Args:
        characters: of each document that the model is shown.

    Raises:
        TrainingError: no answer was usable.
    """
    prompts = []
    for number, text in enumerate(documents.values()):
        style = STYLES[number % len(STYLES)]
        prompts.append(
            f"Passage: {_shortened(text, characters)}\n\n{style}\nAnswer with that line only."
        )
    return _answered(generator, documents, prompts, progress)


def many_queries(
    generator: Generator,
    documents: Mapping[str, str],
    seeds: Sequence[SyntheticQuery],
    *,
    examples: int = 3,
    characters: int = PASSAGE_CHARACTERS,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[SyntheticQuery]:
    """Ask a cheap model for one query per document, showing it a few of the seeds each time.

    Args:
        seeds: from `seed_queries`, or a user's own; which ones are shown changes from one
            document to the next, so that the queries do too.
        examples: seeds in each prompt, their passages a third as long.
        characters: of each document that the model is shown.

    Raises:
        InvalidParameterError: there are no seeds.
        TrainingError: no answer was usable.
    """
    if not seeds:
        raise InvalidParameterError("there are no seeds: make some with seed_queries first.")
    prompts = []
    for id, text in documents.items():
        drawn = random.Random(f"prompt {seed} {id}")
        shown = drawn.sample(list(seeds), min(examples, len(seeds)))
        parts = [
            f"Passage: {_shortened(one.passage, characters // 3)}\nQuery: {one.text}"
            for one in shown
        ]
        parts.append(f"Passage: {_shortened(text, characters)}\nQuery:")
        prompts.append("\n\n".join(parts))
    return _answered(generator, documents, prompts, progress)


def round_trip(
    index: Index, queries: Sequence[SyntheticQuery], *, depth: int = 20
) -> list[SyntheticQuery]:
    """The queries that find their own document among the best `depth`.

    Args:
        index: of the documents that they were made for.
        queries: any number.
        depth: a smaller one keeps safer and easier queries.
    """
    kept: list[SyntheticQuery] = []
    for first in range(0, len(queries), _AT_ONCE):
        some = queries[first : first + _AT_ONCE]
        found = index.search_batch([one.text for one in some], depth)
        for one, hits in zip(some, found, strict=True):
            if any(hit.id == one.document_id for hit in hits):
                kept.append(one)
    return kept


def distinct(queries: Sequence[SyntheticQuery]) -> list[SyntheticQuery]:
    """The queries without repetitions, whatever their capitals and punctuation."""
    seen: dict[str, SyntheticQuery] = {}
    for one in queries:
        seen.setdefault(" ".join(re.findall(r"\w+", one.text.lower())), one)
    return list(seen.values())


def as_judgements(
    queries: Sequence[SyntheticQuery],
) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Query texts and judgements by query id, as mining takes them."""
    texts = {f"synthetic-{number}": one.text for number, one in enumerate(queries)}
    judged = {f"synthetic-{n}": {one.document_id: 1} for n, one in enumerate(queries)}
    return texts, judged


def clean(answer: str) -> str | None:
    """The query in a model's answer, or None where there is none."""
    lines = (line.strip() for line in answer.strip().splitlines())
    line = next((line for line in lines if line), "")
    line = re.sub(r"^(?:[-*•]|\d+[.)])\s+", "", line)
    line = re.sub(r"^(?:search )?(?:query|question|statement|answer)\s*:\s*", "", line, flags=re.I)
    line = re.sub(
        r"^(?:the|this) passage (?:is about|discusses|describes)\s+", "", line, flags=re.I
    )
    line = line.strip(" \t\"'“”‘’*`")
    if len(line.split()) > _MOST_WORDS:
        # Small models go on talking: the first sentence is the query.
        line = re.split(r"(?<=[.?!])\s", line, maxsplit=1)[0]
    words = line.split()
    if not _FEWEST_WORDS <= len(words) <= _MOST_WORDS or "passage" in line.lower():
        return None
    return line


def _answered(
    generator: Generator,
    documents: Mapping[str, str],
    prompts: Sequence[str],
    progress: Progress | None,
) -> list[SyntheticQuery]:
    found: list[SyntheticQuery] = []
    done = 0
    for ids, some in _groups(list(documents), prompts):
        answers = generator.generate(some)
        if len(answers) != len(some):
            raise TrainingError(
                f"the generator gave {len(answers)} answers to {len(some)} prompts: it must give "
                "one each"
            )
        for id, answer in zip(ids, answers, strict=True):
            query = clean(answer)
            if query is not None:
                found.append(SyntheticQuery(query, id, documents[id]))
        done += len(some)
        if progress is not None:
            progress(done, len(prompts))
    if not found and prompts:
        raise TrainingError(
            f"none of the generator's {len(prompts):,} answers was a query (the last was "
            f"{answers[-1][:80]!r}): use a model that follows instructions"
        )
    return found


def _groups(
    ids: Sequence[str], prompts: Sequence[str]
) -> Iterator[tuple[Sequence[str], Sequence[str]]]:
    for first in range(0, len(prompts), _AT_ONCE):
        yield ids[first : first + _AT_ONCE], prompts[first : first + _AT_ONCE]


def _shortened(text: str, most: int) -> str:
    """The beginning of a text, up to the end of a word."""
    text = " ".join(text.split())
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " …"
