"""The reference against formulae written down once more, on small arrays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from weft.kernels import reference


def test_centroid_scores_are_dot_products(rows: dict[str, np.ndarray]) -> None:
    scores = reference.centroid_scores(rows["centroids"], rows["query"])
    for k, centroid in enumerate(rows["centroids"]):
        for j, vector in enumerate(rows["query"]):
            assert scores[k, j] == sum(
                int(a) * int(b) for a, b in zip(centroid, vector, strict=True)
            )


@pytest.fixture
def rows() -> dict[str, np.ndarray]:
    """Rows of small integers, whose dot products are exact in float32."""
    generator = np.random.default_rng(3)
    shapes = {"query": (4, 6), "centroids": (5, 6), "embeddings": (9, 6)}
    return {
        name: generator.integers(-4, 5, shape).astype(np.float32) for name, shape in shapes.items()
    }


def test_maxsim_adds_the_best_of_each_query_vector(rows: dict[str, np.ndarray]) -> None:
    offsets = np.array([0, 2, 2, 9])
    scores = reference.maxsim(rows["query"], rows["embeddings"], offsets)
    for p in range(3):
        tokens = rows["embeddings"][offsets[p] : offsets[p + 1]]
        best = [max((float(q @ t) for t in tokens), default=-math.inf) for q in rows["query"]]
        assert scores[p] == sum(best)


def test_maxsim_does_not_clamp() -> None:
    query = np.array([[1.0, 0.0]], dtype=np.float32)
    embeddings = np.array([[-0.5, 0.0], [-0.25, 1.0]], dtype=np.float32)
    assert reference.maxsim(query, embeddings, np.array([0, 2])).tolist() == [-0.25]


def test_centroid_interaction_looks_scores_up() -> None:
    scores = np.array([[1, 5], [4, 2], [3, 3]], dtype=np.float32)
    codes = np.array([0, 1, 2, 2], dtype=np.uint16)
    offsets = np.array([0, 2, 3, 4])
    pids = np.array([2, 0], dtype=np.uint32)
    every = reference.centroid_interaction(scores, codes, offsets, pids)
    assert every.tolist() == [6.0, 9.0]
    pruned = reference.centroid_interaction(scores, codes, offsets, pids, threshold=4.0)
    assert pruned.tolist() == [-math.inf, 9.0]
    pruned = reference.centroid_interaction(scores, codes, offsets, pids, threshold=4.5)
    assert pruned.tolist() == [-math.inf, 6.0]


def test_maxsim_residual_scores_what_decompress_gives(rows: dict[str, np.ndarray]) -> None:
    query, centroids, embeddings = rows["query"], rows["centroids"], rows["embeddings"]
    codes, _ = reference.assign(embeddings, centroids)
    weights = np.array([-3, -1, 1, 3], dtype=np.float32)
    cutoffs = np.array([-2, 0, 2], dtype=np.float32)
    limits = (0.0, 1.0)
    residuals, norms = reference.compress(embeddings, centroids, codes, cutoffs, weights, limits)
    restored = reference.decompress(codes, residuals, norms, centroids, weights, limits)
    offsets = np.array([0, 4, 9])
    scores = reference.centroid_scores(centroids, query)
    got = reference.maxsim_residual(
        query, scores, codes, residuals, norms, weights, limits, offsets
    )
    np.testing.assert_allclose(got, reference.maxsim(query, restored, offsets), rtol=1e-5)


def test_assign_takes_the_lower_number_in_a_tie() -> None:
    centroids = np.array([[0, 1], [1, 0], [1, 0]], dtype=np.float32)
    codes, scores = reference.assign(np.array([[2, 1], [1, 1]], dtype=np.float32), centroids)
    assert codes.tolist() == [1, 0]
    assert scores.tolist() == [2.0, 1.0]


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_pack_puts_element_d_at_bit_d_times_bits(bits: int) -> None:
    codes = np.random.default_rng(bits).integers(0, 1 << bits, (3, 11)).astype(np.uint8)
    packed = reference.pack(codes, bits)
    for row, expected in zip(packed, codes, strict=True):
        number = int.from_bytes(row.tobytes(), "little")
        assert number == sum(int(code) << (d * bits) for d, code in enumerate(expected))
    assert np.array_equal(reference.unpack(packed, bits, 11), codes)


def test_compress_counts_the_cutoffs_reached() -> None:
    embeddings = np.array([[1.0, 2.0, 0.5]], dtype=np.float32)
    centroids = np.array([[1.0, 1.0, 1.0]], dtype=np.float32)
    cutoffs = np.array([-0.5, 0.0, 1.0], dtype=np.float32)
    weights = np.array([-1, -0.25, 0.5, 1.5], dtype=np.float32)
    codes = np.zeros(1, dtype=np.uint32)
    residuals, norms = reference.compress(
        embeddings, centroids, codes, cutoffs, weights, (0.0, 1.0)
    )
    buckets = [2, 3, 1]  # residuals 0, 1 and -0.5 reach the cutoff that they equal
    assert residuals.tolist() == [[buckets[0] | buckets[1] << 2 | buckets[2] << 4]]
    norm = math.sqrt(1.5**2 + 2.5**2 + 0.75**2)
    assert norms.tolist() == [round(255 / norm)]


def test_candidates_are_a_set() -> None:
    lists = {0: [4, 7], 3: [1, 4], 8: [2]}
    offsets = np.cumsum([0, *map(len, lists.values())])
    pids = np.concatenate([np.array(pids, dtype=np.uint32) for pids in lists.values()])
    numbers = np.array(list(lists), dtype=np.uint32)
    probes = np.array([[3, 0], [0, 5]], dtype=np.uint32)
    found = reference.candidates(probes, numbers, offsets, pids, 9)
    assert found.tolist() == sorted({*lists[0], *lists[3]})
    allowed = np.ones(9, dtype=np.uint8)
    allowed[4] = 0
    assert reference.candidates(probes, numbers, offsets, pids, 9, allowed=allowed).tolist() == [
        1,
        7,
    ]


def test_topk_and_top_centroids_break_ties_downwards() -> None:
    scores = np.array([1, 3, -np.inf, 3, 2], dtype=np.float32)
    assert reference.topk(scores, 3).tolist() == [1, 3, 4]
    columns = np.stack([scores, scores[::-1]], axis=1)
    assert reference.top_centroids(columns, 9).tolist() == [[1, 3, 4, 0, 2], [1, 3, 0, 4, 2]]


def test_crc32c_of_the_standard() -> None:
    """RFC 3720, appendix B.4, and the usual check value."""
    known = {
        b"123456789": 0xE3069283,
        bytes(32): 0x8A9136AA,
        b"\xff" * 32: 0x62A8AB43,
        bytes(range(32)): 0x46DD794E,
        bytes(range(31, -1, -1)): 0x113FDB5C,
    }
    for message, checksum in known.items():
        assert reference.crc32c(np.frombuffer(message, dtype=np.uint8)).tolist() == [checksum]
