"""A dictionary that knows what an index holds and how it scores, codec by codec.

A flat index keeps float16 rows, so that its scores are known. What a coded one keeps of a
document depends on its history: compressed as it was handed in, or as a flat segment had kept it,
or as an earlier codec had. The model follows each of these ways with the index's own
codecs, decoding in NumPy, and a score must be that of one of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import numpy as np
from rotations import turned_back

from weft.engine.codec import Codec
from weft.engine.documents import Document, Hit
from weft.engine.view import IndexView

DIM = 16

Rows = np.ndarray

_numbers = count()


@dataclass(frozen=True, eq=False)
class Entry:
    """A document with the vectors of its passages.

    Args:
        document: as it was handed in.
        passages: float32 [n, dim] each.
        spans: of the passages in the text.
    """

    document: Document
    passages: tuple[Rows, ...]
    spans: tuple[tuple[int, int], ...]
    number: int = field(default_factory=lambda: next(_numbers))


def seeded(*parts: object) -> np.random.Generator:
    """Random numbers that depend on the parts alone."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def unit_rows(random: np.random.Generator, n: int, *, grid: bool) -> Rows:
    """Float32 [n, DIM] of length 1.

    On the grid components are 1/4 or -1/4: float16 keeps them, and sums of products are exact in
    any order, so that equal scores are common and must be equal to the last bit.
    """
    if grid:
        return (random.integers(0, 2, (n, DIM)) * 0.5 - 0.25).astype(np.float32)
    rows = random.standard_normal((n, DIM)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def maxsim(query: Rows, rows: Rows) -> float:
    """The definition, in float64."""
    return float((query.astype(np.float64) @ rows.astype(np.float64).T).max(axis=1).sum())


def decode(codec: Codec, packed: Any) -> Rows:
    """What stored codes stand for: (centroid + bucket weights) x inverse norm, in NumPy."""
    bits = codec.bits
    low, high = codec.inverse_norm_range.astype(np.float64)
    flags = np.unpackbits(packed.residuals, axis=1, bitorder="little")[:, : codec.dim * bits]
    buckets = flags.reshape(len(flags), codec.dim, bits) @ (1 << np.arange(bits))
    rows = codec.centroids[packed.codes].astype(np.float64) + codec.bucket_weights[buckets]
    return turned_back(
        codec.rotation, rows * (low + packed.inverse_norms[:, None] / 255 * (high - low))
    )


class ModelledIndex:
    """The oracle: documents by id, and each codec that the index has had.

    Args:
        grid: vectors lie on the grid of `unit_rows`, one passage per document.
    """

    def __init__(self, *, grid: bool) -> None:
        self.grid = grid
        self.entries: dict[str, Entry] = {}
        self._codecs: dict[str, tuple[tuple[int, int], Codec]] = {}
        self._ways: dict[tuple[int, str], list[tuple[Rows, ...]]] = {}

    def copy(self) -> ModelledIndex:
        """As it is now; codecs are shared, since one that is known does not change."""
        other = ModelledIndex(grid=self.grid)
        other.entries = dict(self.entries)
        other._codecs, other._ways = self._codecs, self._ways
        return other

    def learn_codecs(self, view: IndexView) -> None:
        """Take note of the codecs of a generation, prefixes included."""
        for ref in view.manifest.codecs:
            codec = view.snapshot.codecs[ref.id]
            for part in (*ref.prefixes, ref):
                cut = replace(codec, centroids=codec.centroids[: part.n_centroids])
                self.learn_codec(part.id, (ref.epoch, part.n_centroids), cut)

    def learn_codec(self, id: str, age: tuple[int, int], codec: Codec) -> None:
        """Take note of a codec; those of lower age may have been there before it."""
        self._codecs.setdefault(id, (age, codec))

    def documents(self) -> dict[str, Document]:
        """What the index holds."""
        return {id: entry.document for id, entry in self.entries.items()}

    def ways(self, entry: Entry, *, flat: bool) -> list[tuple[Rows, ...]]:
        """What may be stored of an entry, as the rows of its passages."""
        kept = tuple(rows.astype(np.float16) for rows in entry.passages)
        if flat:
            return [kept]
        return [kept, *(way for id in self._codecs for way in self._coded(entry, id))]

    def _coded(self, entry: Entry, codec_id: str) -> list[tuple[Rows, ...]]:
        """The ways of an entry that end with one codec."""
        key = (entry.number, codec_id)
        if key not in self._ways:
            age, codec = self._codecs[codec_id]
            earlier = [id for id, (other, _) in self._codecs.items() if other < age]
            sources = [entry.passages, tuple(p.astype(np.float16) for p in entry.passages)]
            sources += [way for id in earlier for way in self._coded(entry, id)]
            self._ways[key] = _distinct(
                tuple(decode(codec, codec.compress(p.astype(np.float32))) for p in source)
                for source in sources
            )
        return self._ways[key]

    def check(
        self,
        view: IndexView,
        query: Rows,
        *,
        k: int = 10,
        group_by: str = "document",
        filter: Mapping[str, Any] | None = None,
        matches: Callable[[Document], bool] = lambda document: True,
        **parameters: Any,
    ) -> None:
        """Search a generation, and hold the hits against the definition.

        Args:
            view: of the generation that this model knows.
            query: float32 [nq, DIM].
            k, group_by, filter, parameters: of the search.
            matches: what the filter means.
        """
        hits = view.search(query, k, group_by=group_by, filter=filter, **parameters)
        wanted = [entry for entry in self.entries.values() if matches(entry.document)]
        flat = all(segment.kind == "flat" for segment in view.segments)
        everything = flat or parameters.get("exact") or parameters.get("ndocs") is None
        expected = [
            (entry, _passage_scores(query, self.ways(entry, flat=flat))) for entry in wanted
        ]
        check_hits(hits, expected, k, group_by, complete=bool(everything))
        if flat and self.grid:
            assert [(h.id, h.score, h.passage.ordinal) for h in hits] == _ranked(expected)[:k]


def _distinct(ways: Any) -> list[tuple[Rows, ...]]:
    """Without repetitions: most ways of a document give the same codes."""
    found: dict[bytes, tuple[Rows, ...]] = {}
    for way in ways:
        found.setdefault(b"".join(rows.tobytes() for rows in way), way)
    return list(found.values())


def _passage_scores(query: Rows, ways: Sequence[tuple[Rows, ...]]) -> Rows:
    """Float64 [ways, passages]."""
    return np.array([[maxsim(query, rows) for rows in way] for way in ways])


def _ranked(expected: Sequence[tuple[Entry, Rows]]) -> list[tuple[str, float, int]]:
    """The only right order of documents whose scores are known to the last bit."""
    scores = [(entry.document.id, float(ways[0, 0]), 0) for entry, ways in expected]
    return sorted(scores, key=lambda row: (-row[1], row[0]))


TOLERANCE = 2e-5
"""What float32 sums of a few products differ by."""


def check_hits(
    hits: Sequence[Hit],
    expected: Sequence[tuple[Entry, Rows]],
    k: int,
    group_by: str,
    *,
    complete: bool,
) -> None:
    """Hits are documents as they were added, in order, with scores that they may have.

    Args:
        hits: of a search.
        expected: all that may be found, with the scores [ways, passages] that it may have.
        k, group_by: of the search.
        complete: nothing better may be missing.
    """
    by_document = group_by == "document"
    n_findable = len(expected) if by_document else sum(s.shape[1] for _, s in expected)
    assert len(hits) == min(k, n_findable)
    assert hits == sorted(hits, key=lambda h: (-h.score, h.id, h.passage.ordinal))
    known = {entry.document.id: (entry, scores) for entry, scores in expected}
    found = {(h.id, None if by_document else h.passage.ordinal) for h in hits}
    assert len(found) == len(hits)
    for hit in hits:
        _check_hit(hit, *known[hit.id], by_document)
    if complete and hits:
        _check_complete(hits[-1], found, expected, by_document)


def _check_hit(hit: Hit, entry: Entry, scores: Rows, by_document: bool) -> None:
    document, passage = entry.document, hit.passage
    assert (hit.text, hit.metadata) == (document.text, dict(document.metadata))
    assert (passage.start, passage.end) == entry.spans[passage.ordinal]
    assert passage.text == document.text[passage.start : passage.end]
    fits = np.abs(scores[:, passage.ordinal] - hit.score) <= TOLERANCE
    if by_document:
        fits &= scores.max(axis=1) - hit.score <= TOLERANCE
    assert fits.any(), f"{hit.id} scores {hit.score}, not {scores.tolist()}"


def _check_complete(
    last: Hit,
    found: set[tuple[str, int | None]],
    expected: Sequence[tuple[Entry, Rows]],
    by_document: bool,
) -> None:
    for entry, scores in expected:
        id = entry.document.id
        best = scores.max(axis=1, keepdims=True) if by_document else scores
        for ordinal, column in enumerate(best.T):
            if (id, None if by_document else ordinal) not in found:
                assert column.min() <= last.score + TOLERANCE, f"{id} is missing"
