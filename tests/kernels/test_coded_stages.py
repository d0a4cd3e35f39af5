"""What each stage of the search in bytes keeps, what a mask leaves, what must be checked first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from coded_oracle import QUERY_LEVELS, Collection, Oracle, Segment, make_collection, make_segment

BLOCK = 65536
DIM = 48


@pytest.fixture(scope="module")
def collection() -> Collection:
    """Two segments, the second made when the codec had fewer centroids."""
    generator = np.random.default_rng(1)
    made = make_collection(generator, 600, DIM, 4)
    for prefix in (600, 220):
        lengths = [*generator.integers(1, 20, 500), 0]
        made.segments.append(
            make_segment(generator, made, lengths, n_centroids=prefix, dense=prefix == 600)
        )
    return made


def make_query(nq: int, seed: int = 2) -> Any:
    query = np.random.default_rng(seed).normal(size=(nq, DIM))
    return (query / np.linalg.norm(query, axis=1, keepdims=True)).astype(np.float32)


def found_places(found: Any) -> set[tuple[int, int]]:
    assert len(found[3]) == 0
    return set(zip(found[0].tolist(), found[1].tolist(), strict=True))


def passages(collection: Collection) -> list[tuple[int, int, Any]]:
    """Segment, pid and codes of every passage that has any."""
    return [
        (number, pid, segment.codes[segment.offsets[pid] : segment.offsets[pid + 1]])
        for number, segment in enumerate(collection.segments)
        for pid in range(segment.n_passages)
        if segment.offsets[pid] < segment.offsets[pid + 1]
    ]


def check_kept(kept: set[tuple[int, int]], ranges: dict[tuple[int, int], Any], n: int) -> None:
    """The best n, as far as a range for each tells which they are."""
    assert len(kept) == min(n, len(ranges))
    assert kept <= set(ranges)
    least = min((ranges[place][1] for place in kept), default=0)
    assert all(low <= least for place, (low, _) in ranges.items() if place not in kept)
    best = max(low for low, _ in ranges.values())
    assert any(high >= best for place, (_, high) in ranges.items() if place in kept)


def gains(oracle: Oracle, collection: Collection, nprobe: int) -> dict[tuple[int, int], Any]:
    """Between what and what a passage's gain over all query vectors lies, in bytes."""
    allowed = oracle.bounds.allowed() + oracle.float_error
    low, high = (oracle.clipped - allowed) / oracle.step, (oracle.clipped + allowed) / oracle.step
    result = {}
    for number, segment in enumerate(collection.segments):
        n = segment.n_centroids
        probed = min(nprobe, n)
        worst_low, worst_high = (
            np.sort(low[:n], axis=0)[-probed],
            np.sort(high[:n], axis=0)[-probed],
        )
        surely, perhaps = low[:n] > worst_high, high[:n] >= worst_low
        least = np.where(surely, np.maximum(low[:n] - worst_high, 0) + 1, 0)
        most = np.where(perhaps, high[:n] - worst_low + 1, 0)
        for place in range(segment.n_passages):
            codes = segment.codes[segment.offsets[place] : segment.offsets[place + 1]]
            if len(codes) and perhaps[codes].any():
                bounds = least[codes].max(axis=0).sum(), most[codes].max(axis=0).sum()
                result[number, place] = bounds
    return result


@pytest.mark.parametrize(("nprobe", "n_candidates"), [(2, 5), (8, 40), (64, 150), (600, 100)])
@pytest.mark.parametrize("share", [None, 0.3])
def test_the_best_by_gain_are_candidates(
    target: str, collection: Collection, nprobe: int, n_candidates: int, share: float | None
) -> None:
    query = make_query(12)
    masks = None
    if share is not None:
        generator = np.random.default_rng(3)
        masks = [generator.random(s.n_passages) < share for s in collection.segments]
    oracle = Oracle(collection, query, QUERY_LEVELS[target])
    ranges = gains(oracle, collection, nprobe)
    if masks is not None:
        ranges = {place: span for place, span in ranges.items() if masks[place[0]][place[1]]}
    certain = sum(low > 0 for low, _ in ranges.values())
    assert certain >= n_candidates
    found = collection.search(query, masks, nprobe=nprobe, n_candidates=n_candidates)
    check_kept(found_places(found), ranges, n_candidates)


@pytest.mark.parametrize("n_rescored", [1, 30, 700])
def test_the_best_by_interaction_are_rescored(
    target: str, collection: Collection, n_rescored: int
) -> None:
    query = make_query(20)
    oracle = Oracle(collection, query, QUERY_LEVELS[target])
    allowed = oracle.bounds.allowed() + oracle.float_error
    ranges = {}
    for number, pid, codes in passages(collection):
        best = oracle.clipped[codes].max(axis=0).sum()
        bound = allowed[codes].max(axis=0).sum()
        ranges[number, pid] = (best - bound, best + bound)
    found = collection.search(query, n_rescored=n_rescored)
    check_kept(found_places(found), ranges, n_rescored)


def test_the_best_are_scored_once_more(target: str, collection: Collection) -> None:
    """All are ordered by what they scored last; the others keep the score of their bytes."""
    query = make_query(33)
    coarse = collection.search(query)
    expected = [Oracle(collection, query, 127).passages(number)[0] for number in range(2)]
    for n_exact in (1, 50, 5000):
        found = collection.search(query, n_exact=n_exact)
        before = dict(
            zip(zip(*map(np.ndarray.tolist, coarse[:2]), strict=True), coarse[2], strict=True)
        )
        best = set(list(before)[:n_exact])
        for number, pid, score in zip(*(part.tolist() for part in found[:3]), strict=True):
            if (number, pid) in best:
                assert score == pytest.approx(expected[number][pid], rel=1e-5, abs=1e-5)
            else:
                assert score == before[number, pid]
        assert found_places(found) == found_places(coarse)
        assert (np.diff(found[2]) <= 0).all()


def test_where_all_can_be_candidates_all_are(target: str, collection: Collection) -> None:
    """Without probing; a passage without tokens scores -inf, as it does exactly."""
    query = make_query(3)
    n = sum(segment.n_passages for segment in collection.segments)
    found = collection.search(query, nprobe=1, n_candidates=n, n_rescored=n, n_exact=n)
    assert len(found_places(found)) == n
    expected = [Oracle(collection, query, 127).passages(number)[0] for number in range(2)]
    for number, pid, score in zip(*found[:3], strict=True):
        assert score == pytest.approx(expected[number][pid], rel=1e-5, abs=1e-5)
    assert np.isneginf(found[2][-2:]).all()


@pytest.mark.parametrize("n_candidates", [5, 10, 1000])
def test_masks(target: str, collection: Collection, n_candidates: int) -> None:
    """Only what is allowed is found, and as much of it as without the rest of the collection."""
    query = make_query(16)
    generator = np.random.default_rng(n_candidates)
    masks = [np.zeros(s.n_passages, dtype=bool) for s in collection.segments]
    for mask in masks:
        mask[generator.choice(500, 5, replace=False)] = True
    found = collection.search(query, masks, n_candidates=n_candidates)
    every = collection.search(query)
    scores = {(s, p): score for s, p, score in zip(*(x.tolist() for x in every[:3]), strict=True)}
    kept = found_places(found)
    assert kept <= {(s, int(p)) for s, mask in enumerate(masks) for p in np.flatnonzero(mask)}
    assert len(kept) == min(n_candidates, 10)
    for number, pid, score in zip(*(part.tolist() for part in found[:3]), strict=True):
        assert score == scores[number, pid]
    as_bytes = [mask.astype(np.uint8) * 7 for mask in masks]
    again = collection.search(query, as_bytes, n_candidates=n_candidates)
    assert [part.tobytes() for part in again] == [part.tobytes() for part in found]
    half = collection.search(query, [None, np.zeros_like(masks[1])], n_candidates=500)
    assert found_places(half) == {place for place in found_places(every) if place[0] == 0}
    for nobody in (np.zeros_like(masks[0]), np.zeros(501, dtype=np.uint8)):
        found = collection.search(query, [nobody, nobody], n_candidates=n_candidates)
        assert [len(part) for part in found] == [0, 0, 0, 0]
        assert found[3].shape == (0, 3)


def test_no_segments_and_empty_ones(target: str, collection: Collection) -> None:
    query = make_query(2)
    nothing = replace(collection, segments=[])
    codec = nothing.codec()
    limits = {"nprobe": 3, "n_candidates": 3, "n_rescored": 3, "n_exact": 3}
    assert [len(part) for part in codec.search(query, [], [], **limits)] == [0, 0, 0, 0]
    empty = make_segment(np.random.default_rng(0), nothing, [])
    found = codec.search(query, [empty.native()] * 2, [None, None], **limits)
    assert [len(part) for part in found] == [0, 0, 0, 0]


class File:
    """A segment's file in which nothing is right before it was asked for."""

    def __init__(self, segment: Segment, gap: int) -> None:
        names = ("codes", "residuals", "inverse_norms", "ivf_pids")
        arrays = [getattr(segment, name) for name in names]
        self.positions, end = [], gap
        for array in arrays:
            self.positions.append(end)
            end += -(-array.nbytes // 8) * 8 + gap
        self.truth = np.zeros(end, dtype=np.uint8)
        self.bytes = np.full(end, 255, dtype=np.uint8)
        self.unchecked = np.ones(-(-end // BLOCK), dtype=bool)
        views = {}
        for name, array, start in zip(names, arrays, self.positions, strict=True):
            rows = slice(start, start + array.nbytes)
            self.truth[rows] = np.frombuffer(array.tobytes(), dtype=np.uint8)
            views[name] = self.bytes[rows].view(array.dtype).reshape(array.shape)
        self.segment = replace(segment, **views)
        self.native = self.segment.native(unchecked=self.unchecked, positions=self.positions)

    def check(self, first: int, end: int) -> None:
        """Blocks are read from the disk, and sound."""
        assert self.unchecked[first:end].all()
        self.bytes[first * BLOCK : end * BLOCK] = self.truth[first * BLOCK : end * BLOCK]
        self.unchecked[first:end] = False

    def blocks(self, number: int, begin: int, end: int) -> set[int]:
        """Of bytes of an array."""
        start = self.positions[number]
        return set(range((start + begin) // BLOCK, (start + end - 1) // BLOCK + 1))


def rounds(files: list[File], ask: Any) -> tuple[Any, list[set[tuple[int, int]]]]:
    """The answer, and the blocks that each round asked for."""
    asked: list[set[tuple[int, int]]] = []
    for _ in range(4):
        found = ask()
        if not len(found[3]):
            return found, asked
        assert [len(part) for part in found[:3]] == [0, 0, 0]
        blocks = {(int(s), b) for s, first, end in found[3] for b in range(first, end)}
        asked.append(blocks)
        for number, block in blocks:
            files[number].check(block, block + 1)
    raise AssertionError("more than four rounds")


@pytest.fixture(scope="module", params=[np.uint16, np.uint32])
def large(request: pytest.FixtureRequest) -> Collection:
    """Two segments of many blocks."""
    generator = np.random.default_rng(4)
    made = make_collection(generator, 2000, 64, 8)
    for _ in range(2):
        made.segments.append(make_segment(generator, made, [25] * 900, dtype=request.param))
    return made


def test_blocks_that_must_be_checked_first(target: str, large: Collection) -> None:
    """Lists, then codes, then residuals and inverse norms; nothing else, nothing earlier."""
    made = large
    query = 3 * made.centroids[700:701]
    limits = {"nprobe": 1, "n_candidates": 8, "n_rescored": 8, "n_exact": 3}
    expected = made.search(query, **limits)
    files = [File(segment, gap) for segment, gap in zip(made.segments, (8, 40_000), strict=True)]
    codec, native = made.codec(), [file.native for file in files]
    found, asked = rounds(files, lambda: codec.search(query, native, [None, None], **limits))
    assert [part.tobytes() for part in found] == [part.tobytes() for part in expected]
    (must,), (may,) = Oracle(made, query, QUERY_LEVELS[target]).probes(1)
    assert must == may
    (centroid,) = must
    lists, codes, rest = set(), set(), set()
    for number, segment in enumerate(made.segments):
        begin, end = segment.ivf_offsets[centroid : centroid + 2] * 4
        lists |= {(number, b) for b in files[number].blocks(3, begin, end)}
    for number, pid in found_places(found):
        begin, end = made.segments[number].offsets[pid : pid + 2]
        width = made.segments[number].codes.itemsize
        codes |= {(number, b) for b in files[number].blocks(0, begin * width, end * width)}
        rest |= {(number, b) for b in files[number].blocks(1, begin * 64, end * 64)}
        rest |= {(number, b) for b in files[number].blocks(2, begin, end)}
    wanted = [lists, codes - lists, rest - codes - lists]
    assert asked == [blocks for blocks in wanted if blocks]


def test_checked_blocks_are_not_asked_for(target: str, collection: Collection) -> None:
    query = make_query(32)
    segments = [
        segment.native(unchecked=np.zeros(9, dtype=np.uint8), positions=[0, 64, 128, 192])
        for segment in collection.segments
    ]
    limits = {"nprobe": 9, "n_candidates": 50, "n_rescored": 20, "n_exact": 10}
    found = collection.codec().search(query, segments, [None, None], **limits)
    expected = collection.search(query, **limits)
    assert [part.tobytes() for part in found] == [part.tobytes() for part in expected]


def test_ties_go_to_the_lower_number(target: str) -> None:
    generator = np.random.default_rng(5)
    made = make_collection(generator, 30, DIM, 2)
    segment = make_segment(generator, made, [4] * 40 + [0], codes=np.tile([3, 1, 4, 1], 40))
    segment.residuals[:] = np.tile(segment.residuals[:4], (40, 1))
    segment.inverse_norms[:] = 77
    made.segments += [segment, segment]
    for n_exact in (0, 7, 80):
        found = made.search(make_query(5), n_exact=n_exact)
        if n_exact != 7:
            assert found[0].tolist() == [0] * 40 + [1] * 40
            assert found[1].tolist() == list(range(40)) * 2
    few = made.search(make_query(5), n_candidates=11, n_rescored=6)
    assert few[1].tolist() == list(range(6)) and not few[0].any()
