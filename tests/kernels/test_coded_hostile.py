"""The search in bytes on arrays that must not be believed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from coded_oracle import make_collection, make_segment

from weft import kernels
from weft.kernels.arrays import MAX_DIM

DIM, NQ, K, P = 9, 3, 40, 30
LIMITS = {"nprobe": K, "n_candidates": P, "n_rescored": P, "n_exact": 5, "threads": 1}


def f32(*shape: int) -> Any:
    return np.zeros(shape, dtype=np.float32)


def with_value(array: Any, place: Any, value: Any) -> Any:
    copy = array.copy()
    copy[place] = value
    return copy


@pytest.fixture
def valid() -> dict[str, Any]:
    """All that a search takes, by name."""
    generator = np.random.default_rng(1)
    made = make_collection(generator, K, DIM, 2)
    segment = make_segment(generator, made, [4] * P + [0], dense=False)
    names = ("codes", "residuals", "inverse_norms", "ivf_centroids", "ivf_offsets", "ivf_pids")
    given = {name: getattr(segment, name) for name in (*names, "offsets", "n_centroids")}
    given |= {"centroids": made.centroids, "bucket_weights": made.weights}
    given |= {"inverse_norm_range": made.norm_range, "allowed": np.ones(P + 1, dtype=bool)}
    given |= {"unchecked": np.zeros(4, dtype=bool), "positions": [0, 0, 0, 0]}
    return given | LIMITS | {"query": generator.normal(size=(NQ, DIM)).astype(np.float32)}


def search(given: dict[str, Any]) -> Any:
    """Make codec and segment, and search."""
    names = ("codes", "residuals", "inverse_norms", "ivf_centroids", "ivf_offsets", "ivf_pids")
    codec = kernels.search_codec(
        given["centroids"], given["bucket_weights"], given["inverse_norm_range"]
    )
    segment = kernels.coded_segment(
        *(given[name] for name in (*names, "offsets", "n_centroids")),
        unchecked=given["unchecked"],
        positions=given["positions"],
    )
    assert codec is not None
    limits = {name: given[name] for name in LIMITS}
    return codec.search(given["query"], [segment], [given["allowed"]], **limits)


ARRAYS = (
    "codes", "residuals", "inverse_norms", "ivf_centroids", "ivf_offsets", "ivf_pids", "offsets",
    "centroids", "bucket_weights", "allowed", "unchecked", "query",
)  # fmt: skip


@pytest.mark.parametrize("argument", ARRAYS)
def test_wrong_types_and_shapes(valid: dict[str, Any], argument: str) -> None:
    search(valid)
    array = valid[argument]
    for wrong in (array.tolist(), "text", array.astype(np.float64), array.astype(">f4")):
        with pytest.raises(TypeError, match=f"^{argument}:"):
            search(valid | {argument: wrong})
    gapped = np.repeat(array, 2, axis=-1)[..., ::2]
    for wrong in (gapped, array[None].copy(), np.asfortranarray(array)[..., None]):
        with pytest.raises(ValueError, match=f"^{argument}:"):
            search(valid | {argument: wrong})


def test_read_only_arrays(valid: dict[str, Any]) -> None:
    expected = search(valid)
    for argument in ARRAYS:
        valid[argument].flags.writeable = False
    assert all(np.array_equal(a, b) for a, b in zip(search(valid), expected, strict=True))


BROKEN: list[tuple[str, str, Callable[[dict[str, Any]], Any]]] = [
    ("codes", "codes", lambda a: with_value(a["codes"], 0, K)),
    ("codes", "codes", lambda a: with_value(a["codes"], -1, 65535)),
    ("codes", "codes", lambda a: np.full(4 * P, 2**32 - 1, dtype=np.uint32)),
    ("codes", "residuals|inverse_norms", lambda a: a["codes"][:-1].copy()),
    ("residuals", "residuals", lambda a: a["residuals"][:-1].copy()),
    ("residuals", "residuals", lambda a: a["residuals"][:, :2].copy()),
    ("residuals", "residuals", lambda a: np.zeros((4 * P, 4), dtype=np.uint8)),
    ("residuals", "residuals", lambda a: np.zeros((4 * P, 0), dtype=np.uint8)),
    ("inverse_norms", "inverse_norms", lambda a: a["inverse_norms"][1:].copy()),
    ("ivf_centroids", "ivf_centroids", lambda a: a["ivf_centroids"][::-1].copy()),
    ("ivf_centroids", "ivf_centroids", lambda a: with_value(a["ivf_centroids"], 1, 0)),
    ("ivf_centroids", "ivf_offsets", lambda a: a["ivf_centroids"][:-1].copy()),
    ("ivf_offsets", "ivf_offsets", lambda a: a["ivf_offsets"][:-1].copy()),
    ("ivf_offsets", "ivf_offsets", lambda a: a["ivf_offsets"][:0].copy()),
    ("ivf_offsets", "ivf_offsets", lambda a: with_value(a["ivf_offsets"], 0, -1)),
    ("ivf_offsets", "ivf_offsets", lambda a: with_value(a["ivf_offsets"], -1, 2**62)),
    ("ivf_offsets", "ivf_offsets", lambda a: with_value(a["ivf_offsets"], 3, -(2**63))),
    ("ivf_offsets", "ivf_offsets", lambda a: with_value(a["ivf_offsets"], 3, 2**63 - 1)),
    ("ivf_offsets", "ivf_offsets", lambda a: a["ivf_offsets"][::-1].copy()),
    ("ivf_pids", "ivf_pids", lambda a: with_value(a["ivf_pids"], 0, P + 1)),
    ("ivf_pids", "ivf_pids", lambda a: with_value(a["ivf_pids"], -1, 2**32 - 1)),
    ("ivf_pids", "ivf_offsets", lambda a: a["ivf_pids"][:-1].copy()),
    ("offsets", "offsets", lambda a: with_value(a["offsets"], 0, -1)),
    ("offsets", "offsets", lambda a: with_value(a["offsets"], 3, 4 * P + 1)),
    ("offsets", "offsets", lambda a: with_value(a["offsets"], 3, -(2**63))),
    ("offsets", "offsets", lambda a: with_value(a["offsets"], 3, 2**63 - 1)),
    ("offsets", "offsets", lambda a: with_value(a["offsets"], 5, 1)),
    ("offsets", "offsets", lambda a: a["offsets"][:0].copy()),
    ("offsets", "allowed|ivf_pids", lambda a: a["offsets"][:-2].copy()),
    ("n_centroids", "n_centroids", lambda a: 0),
    ("n_centroids", "n_centroids", lambda a: -5),
    ("n_centroids", "n_centroids", lambda a: K + 1),
    ("n_centroids", "n_centroids", lambda a: 2**32),
    ("n_centroids", "codes", lambda a: 7),
    ("centroids", "centroids", lambda a: f32(0, DIM)),
    ("centroids", "centroids", lambda a: f32(K, 0)),
    ("centroids", "centroids", lambda a: f32(1, MAX_DIM + 1)),
    ("centroids", "centroids", lambda a: with_value(a["centroids"], (3, 3), np.nan)),
    ("centroids", "centroids", lambda a: with_value(a["centroids"], (K - 1, 8), -np.inf)),
    ("centroids", "query|residuals", lambda a: f32(K, DIM + 1)),
    ("centroids", "n_centroids", lambda a: a["centroids"][:-1].copy()),
    ("bucket_weights", "bucket_weights", lambda a: f32(3)),
    ("bucket_weights", "bucket_weights", lambda a: f32(0)),
    ("bucket_weights", "bucket_weights", lambda a: f32(512)),
    ("bucket_weights", "bucket_weights", lambda a: np.full(4, np.nan, dtype=np.float32)),
    ("bucket_weights", "residuals", lambda a: f32(16)),
    ("inverse_norm_range", "inverse_norm_range", lambda a: (1.0, 0.5)),
    ("inverse_norm_range", "inverse_norm_range", lambda a: (0.0, float("inf"))),
    ("inverse_norm_range", "inverse_norm_range", lambda a: (float("nan"), 1.0)),
    ("inverse_norm_range", "inverse_norm_range", lambda a: (-1e308, 1e308)),
    ("inverse_norm_range", "inverse_norm_range", lambda a: (1.0,)),
    ("query", "query", lambda a: f32(0, DIM)),
    ("query", "query", lambda a: f32(1024, DIM)),
    ("query", "query", lambda a: f32(NQ, DIM - 1)),
    ("query", "query", lambda a: f32(NQ, 0)),
    ("query", "query", lambda a: with_value(a["query"], (2, 8), np.nan)),
    ("query", "query", lambda a: with_value(a["query"], (0, 0), np.inf)),
    ("allowed", "allowed", lambda a: a["allowed"][:-1].copy()),
    ("positions", "positions", lambda a: [0, 0, 0]),
    ("positions", "positions", lambda a: [0, 0, 0, 0, 0]),
    ("positions", "positions", lambda a: [0, -1, 0, 0]),
    ("positions", "positions", lambda a: [0, 0, 0, 2**62]),
    ("nprobe", "nprobe", lambda a: 0),
    ("nprobe", "nprobe", lambda a: 2**32),
    ("n_candidates", "n_candidates", lambda a: 0),
    ("n_rescored", "n_rescored", lambda a: -1),
    ("n_exact", "n_exact", lambda a: -1),
    ("threads", "threads", lambda a: 257),
    ("threads", "threads", lambda a: -1),
]


@pytest.mark.parametrize(("argument", "named", "broken"), BROKEN)
def test_values_out_of_range(
    target: str,
    valid: dict[str, Any],
    argument: str,
    named: str,
    broken: Callable[[dict[str, Any]], Any],
) -> None:
    search(valid)
    with pytest.raises(ValueError, match=f"^({named}):"):
        search(valid | {argument: broken(valid)})


@pytest.mark.parametrize("argument", ["n_centroids", "nprobe", "n_candidates", "threads"])
def test_numbers_must_be_whole(valid: dict[str, Any], argument: str) -> None:
    for wrong in (1.5, "2", None, 2**70):
        with pytest.raises((TypeError, ValueError)):
            search(valid | {argument: wrong})


def test_what_is_no_segment(valid: dict[str, Any]) -> None:
    codec = kernels.search_codec(*(valid[name] for name in list(valid)[8:11]))
    assert codec is not None
    for wrong in (None, 3, codec, valid["codes"]):
        with pytest.raises(TypeError, match=r"^segments:"):
            codec.search(valid["query"], [wrong], [None], **LIMITS)  # type: ignore[list-item]
    for masks in ([], [None, None]):
        with pytest.raises((TypeError, ValueError), match=r"^(allowed|segments):"):
            codec.search(valid["query"], [wrong], masks, **LIMITS)


def test_huge_numbers_are_refused_or_scored(target: str, valid: dict[str, Any]) -> None:
    """Scores that float32 cannot hold: no crash, and no NaN."""
    for exponent in (19, 30, 38):
        for argument in ("query", "centroids", "bucket_weights"):
            huge = valid[argument] / np.abs(valid[argument]).max() * np.float32(10) ** exponent
            for norm_range in ((0.1, 1.5), (0.0, 1e30)):
                given = valid | {argument: huge, "inverse_norm_range": norm_range}
                try:
                    scores = search(given)[2]
                except ValueError as error:
                    assert str(error).startswith(("scores:", "query:", "inverse_norm_range:"))
                else:
                    assert not np.isnan(scores).any()


def test_a_passage_that_is_not_looked_at(target: str, valid: dict[str, Any]) -> None:
    """Damage where the search does not go stays unseen, as in a file that is checked on demand."""
    only = with_value(np.zeros(P + 1, dtype=bool), [2, 7, 11], True)
    limits = {"allowed": only, "n_candidates": 2}
    expected = search(valid | limits)
    damaged = valid | limits | {"codes": with_value(valid["codes"], slice(-8, None), 60000)}
    damaged["offsets"] = with_value(valid["offsets"], 29, -7)
    assert all(np.array_equal(a, b) for a, b in zip(search(damaged), expected, strict=True))


def test_writers_meanwhile(target: str, valid: dict[str, Any]) -> None:
    """What has been checked is what is used: an answer or a refusal, whatever is written."""
    generator = np.random.default_rng(3)
    made = make_collection(generator, 200, 16, 4)
    segment = make_segment(generator, made, [3] * 400 + [0], dense=True)
    query, allowed = generator.normal(size=(5, 16)).astype(np.float32), np.ones(401, dtype=bool)
    arrays = [segment.codes, segment.ivf_offsets, segment.ivf_pids, segment.offsets]
    codec, native, stopped = made.codec(), segment.native(), threading.Event()

    def write() -> None:
        while not stopped.is_set():
            for array in (*arrays, allowed):
                kept, place = array.copy(), generator.integers(len(array))
                array[place] = generator.choice([0, 1, 60000]) if array is not allowed else False
                array[:] = kept

    writer = threading.Thread(target=write)
    writer.start()
    answers = 0
    for n_candidates in [401, 400, 20] * 60:
        limits = {"nprobe": 9, "n_candidates": n_candidates, "n_rescored": 20, "n_exact": 9}
        try:
            answers += len(codec.search(query, [native], [allowed], **limits)[0]) > 0
        except ValueError:
            continue
    stopped.set()
    writer.join()
    limits = {"nprobe": 9, "n_candidates": 20, "n_rescored": 20, "n_exact": 9}
    assert len(codec.search(query, [native], [allowed], **limits)[0]) == 20
