"""Arrays that must not be believed: each is refused by name, by every target and the reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from weft import kernels
from weft.kernels import reference
from weft.kernels.arrays import MAX_COLUMNS, MAX_DIM

Arguments = Callable[[str], dict[str, Any]]


def f32(*shape: int) -> np.ndarray:
    return np.zeros(shape, dtype=np.float32)


def with_value(array: np.ndarray, place: Any, value: Any) -> np.ndarray:
    copy = array.copy()
    copy[place] = value
    return copy


def call(module: Any, name: str, given: dict[str, Any]) -> Any:
    """Call a kernel; the arguments stand in the order of its parameters."""
    keyword_only = {"threads", "allowed", "threshold"} | ({"pids"} if "maxsim" in name else set())
    keyword_only |= {"probes"} if name == "assign_cells" else set()
    positional = [value for key, value in given.items() if key not in keyword_only]
    keywords = {key: value for key, value in given.items() if key in keyword_only}
    return getattr(module, name)(*positional, **keywords)


ARRAYS = [
    ("centroid_scores", "centroids"),
    ("centroid_scores", "query"),
    ("top_centroids", "scores"),
    ("candidates", "probes"),
    ("candidates", "ivf_centroids"),
    ("candidates", "ivf_offsets"),
    ("candidates", "ivf_pids"),
    ("candidates", "allowed"),
    ("centroid_interaction", "scores"),
    ("centroid_interaction", "codes"),
    ("centroid_interaction", "offsets"),
    ("centroid_interaction", "pids"),
    ("maxsim", "query"),
    ("maxsim", "embeddings"),
    ("maxsim", "offsets"),
    ("maxsim", "pids"),
    ("maxsim_residual", "query"),
    ("maxsim_residual", "scores"),
    ("maxsim_residual", "codes"),
    ("maxsim_residual", "residuals"),
    ("maxsim_residual", "inverse_norms"),
    ("maxsim_residual", "bucket_weights"),
    ("maxsim_residual", "offsets"),
    ("topk", "scores"),
    ("assign", "embeddings"),
    ("assign", "centroids"),
    ("assign_cells", "embeddings"),
    ("assign_cells", "centroids"),
    ("assign_cells", "cell_centroids"),
    ("assign_cells", "cell_offsets"),
    ("sum_rows", "rows"),
    ("sum_rows", "groups"),
    ("squared_lengths", "rows"),
    ("pack", "bucket_codes"),
    ("unpack", "packed"),
    ("compress", "embeddings"),
    ("compress", "centroids"),
    ("compress", "codes"),
    ("compress", "bucket_cutoffs"),
    ("compress", "bucket_weights"),
    ("decompress", "codes"),
    ("decompress", "residuals"),
    ("decompress", "inverse_norms"),
    ("decompress", "centroids"),
    ("decompress", "bucket_weights"),
    ("crc32c", "buffer"),
]


@pytest.mark.parametrize("module", [kernels, reference], ids=["native", "reference"])
@pytest.mark.parametrize(("name", "argument"), ARRAYS)
def test_wrong_types_and_shapes(
    arguments: Arguments, module: Any, name: str, argument: str
) -> None:
    valid = arguments(name)
    call(module, name, valid)
    array = valid[argument]
    wrong_types = [array.tolist(), "text", array.astype(np.float64), array.astype(">f4")]
    for wrong in wrong_types:
        with pytest.raises(TypeError, match=f"^{argument}:"):
            call(module, name, valid | {argument: wrong})
    gapped = np.repeat(array, 2, axis=-1)[..., ::2]
    wrong_shapes = [gapped]
    if argument != "probes":  # of any shape
        wrong_shapes += [array[None].copy(), np.asfortranarray(array)[..., None]]
    for wrong in wrong_shapes:
        with pytest.raises(ValueError, match=f"^{argument}:"):
            call(module, name, valid | {argument: wrong})


def misaligned(array: np.ndarray) -> np.ndarray:
    """A copy that starts one byte past an element's boundary."""
    memory = np.empty(array.nbytes + array.itemsize, dtype=np.uint8)
    start = 1 + (-memory.ctypes.data) % array.itemsize
    copy = memory[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@pytest.mark.parametrize("module", [kernels, reference], ids=["native", "reference"])
@pytest.mark.parametrize(("name", "argument"), ARRAYS)
def test_misaligned_arrays(arguments: Arguments, module: Any, name: str, argument: str) -> None:
    valid = arguments(name)
    given = valid | {argument: misaligned(valid[argument])}
    if valid[argument].itemsize == 1:
        call(module, name, given)
        return
    with pytest.raises(ValueError, match=f"^{argument}: must be aligned"):
        call(module, name, given)


BROKEN: list[tuple[str, str, Callable[[dict[str, Any]], Any]]] = [
    ("centroid_scores", "query", lambda a: f32(3, 8)),
    ("centroid_scores", "query", lambda a: f32(0, 9)),
    ("centroid_scores", "query", lambda a: with_value(a["query"], (1, 1), np.nan)),
    ("centroid_scores", "query", lambda a: with_value(a["query"], (2, 8), -np.inf)),
    ("centroid_scores", "centroids", lambda a: f32(5, 0)),
    ("centroid_scores", "centroids", lambda a: f32(1, MAX_DIM + 1)),
    ("centroid_scores", "threads", lambda a: -1),
    ("centroid_scores", "threads", lambda a: 257),
    ("top_centroids", "nprobe", lambda a: -1),
    ("top_centroids", "scores", lambda a: f32(5, 0)),
    ("top_centroids", "scores", lambda a: f32(0, 2**60)),
    ("topk", "k", lambda a: -1),
    ("candidates", "probes", lambda a: np.array([3], dtype=np.uint32)),
    ("candidates", "ivf_centroids", lambda a: a["ivf_centroids"][:2].copy()),
    ("candidates", "ivf_centroids", lambda a: a["ivf_centroids"][::-1].copy()),
    ("candidates", "ivf_centroids", lambda a: np.array([0, 2, 2], dtype=np.uint32)),
    ("candidates", "ivf_offsets", lambda a: with_value(a["ivf_offsets"], 0, -1)),
    ("candidates", "ivf_offsets", lambda a: with_value(a["ivf_offsets"], 1, 4)),
    ("candidates", "ivf_offsets", lambda a: with_value(a["ivf_offsets"], 3, 6)),
    ("candidates", "ivf_offsets", lambda a: with_value(a["ivf_offsets"], 3, 2**62)),
    ("candidates", "ivf_offsets", lambda a: a["ivf_offsets"][:0].copy()),
    ("candidates", "ivf_pids", lambda a: with_value(a["ivf_pids"], 4, 4)),
    ("candidates", "ivf_pids", lambda a: with_value(a["ivf_pids"], 0, 2**32 - 1)),
    ("candidates", "n_passages", lambda a: -1),
    ("candidates", "n_passages", lambda a: 2**40),
    ("candidates", "allowed", lambda a: a["allowed"][:3].copy()),
    ("centroid_interaction", "codes", lambda a: with_value(a["codes"], 11, 5)),
    ("centroid_interaction", "codes", lambda a: with_value(a["codes"], 0, 65535)),
    ("centroid_interaction", "codes", lambda a: np.full(12, 2**32 - 1, dtype=np.uint32)),
    ("centroid_interaction", "codes", lambda a: a["codes"][:11].copy()),
    ("centroid_interaction", "offsets", lambda a: with_value(a["offsets"], 0, -1)),
    ("centroid_interaction", "offsets", lambda a: with_value(a["offsets"], 1, 13)),
    ("centroid_interaction", "offsets", lambda a: with_value(a["offsets"], 4, 8)),
    ("centroid_interaction", "offsets", lambda a: with_value(a["offsets"], 4, 2**62)),
    ("centroid_interaction", "offsets", lambda a: a["offsets"][:0].copy()),
    ("centroid_interaction", "pids", lambda a: np.array([4], dtype=np.uint32)),
    ("centroid_interaction", "pids", lambda a: np.array([2**32 - 1], dtype=np.uint32)),
    ("centroid_interaction", "scores", lambda a: f32(5, 0)),
    ("centroid_interaction", "scores", lambda a: f32(0, MAX_COLUMNS + 1)),
    ("centroid_interaction", "scores", lambda a: f32(0, 2**60)),
    ("centroid_interaction", "threshold", lambda a: float("nan")),
    ("maxsim", "embeddings", lambda a: f32(12, 8)),
    ("maxsim", "embeddings", lambda a: f32(11, 9)),
    ("maxsim", "embeddings", lambda a: f32(0, 9)),
    ("maxsim", "offsets", lambda a: with_value(a["offsets"], 3, -(2**63))),
    ("maxsim", "offsets", lambda a: with_value(a["offsets"], 3, 2**63 - 1)),
    ("maxsim", "pids", lambda a: np.array([0, 4], dtype=np.uint32)),
    ("maxsim_residual", "codes", lambda a: with_value(a["codes"], 10, 5)),
    ("maxsim_residual", "residuals", lambda a: a["residuals"][:11].copy()),
    ("maxsim_residual", "residuals", lambda a: a["residuals"][:, :2].copy()),
    ("maxsim_residual", "residuals", lambda a: np.zeros((12, 4), dtype=np.uint8)),
    ("maxsim_residual", "inverse_norms", lambda a: a["inverse_norms"][:11].copy()),
    ("maxsim_residual", "bucket_weights", lambda a: f32(3)),
    ("maxsim_residual", "bucket_weights", lambda a: f32(512)),
    ("maxsim_residual", "bucket_weights", lambda a: f32(0)),
    ("maxsim_residual", "bucket_weights", lambda a: np.full(4, np.inf, dtype=np.float32)),
    ("maxsim_residual", "inverse_norm_range", lambda a: (1.0, 0.5)),
    ("maxsim_residual", "inverse_norm_range", lambda a: (0.0, float("inf"))),
    ("maxsim_residual", "inverse_norm_range", lambda a: (0.0,)),
    ("maxsim_residual", "inverse_norm_range", lambda a: (-1e308, 1e308)),
    ("compress", "inverse_norm_range", lambda a: (-1e308, 1e308)),
    ("decompress", "inverse_norm_range", lambda a: (-1e308, 1e308)),
    ("maxsim_residual", "scores", lambda a: f32(5, 4)),
    ("maxsim_residual", "scores", lambda a: f32(0, 2**60)),
    ("maxsim_residual", "offsets", lambda a: with_value(a["offsets"], 1, 10)),
    ("assign", "embeddings", lambda a: with_value(a["embeddings"], (11, 8), np.nan)),
    ("assign", "embeddings", lambda a: with_value(a["embeddings"], (0, 0), np.inf)),
    ("assign", "centroids", lambda a: f32(5, 8)),
    ("assign", "centroids", lambda a: f32(0, 9)),
    ("assign_cells", "embeddings", lambda a: with_value(a["embeddings"], (11, 8), np.nan)),
    ("assign_cells", "embeddings", lambda a: np.full((3, 9), np.inf, dtype=np.float16)),
    ("assign_cells", "centroids", lambda a: with_value(a["centroids"], (4, 8), np.nan)),
    ("assign_cells", "centroids", lambda a: f32(5, 8)),
    ("assign_cells", "centroids", lambda a: f32(0, 9)),
    ("assign_cells", "cell_centroids", lambda a: with_value(a["cell_centroids"], 0, np.inf)),
    ("assign_cells", "cell_centroids", lambda a: f32(2, 8)),
    ("assign_cells", "cell_centroids", lambda a: f32(0, 9)),
    ("assign_cells", "cell_offsets", lambda a: with_value(a["cell_offsets"], 0, -1)),
    ("assign_cells", "cell_offsets", lambda a: with_value(a["cell_offsets"], 1, 0)),
    ("assign_cells", "cell_offsets", lambda a: with_value(a["cell_offsets"], 1, 2**62)),
    ("assign_cells", "cell_offsets", lambda a: with_value(a["cell_offsets"], 2, 6)),
    ("assign_cells", "cell_offsets", lambda a: a["cell_offsets"][:2].copy()),
    ("assign_cells", "probes", lambda a: 0),
    ("assign_cells", "threads", lambda a: 257),
    ("sum_rows", "groups", lambda a: with_value(a["groups"], 11, 5)),
    ("sum_rows", "groups", lambda a: a["groups"][:11].copy()),
    ("sum_rows", "n_groups", lambda a: -1),
    ("pack", "bucket_codes", lambda a: with_value(a["bucket_codes"], (11, 8), 4)),
    ("pack", "bucket_codes", lambda a: np.zeros((2, 0), dtype=np.uint8)),
    ("pack", "bits", lambda a: 3),
    ("unpack", "bits", lambda a: 0),
    ("unpack", "dim", lambda a: 0),
    ("unpack", "dim", lambda a: MAX_DIM + 1),
    ("unpack", "packed", lambda a: a["packed"][:, :2].copy()),
    ("compress", "codes", lambda a: with_value(a["codes"], 11, 5)),
    ("compress", "codes", lambda a: a["codes"][:11].copy()),
    ("compress", "bucket_cutoffs", lambda a: f32(4)),
    ("compress", "bucket_cutoffs", lambda a: a["bucket_cutoffs"][::-1].copy()),
    ("compress", "bucket_cutoffs", lambda a: with_value(a["bucket_cutoffs"], 1, np.nan)),
    ("compress", "embeddings", lambda a: with_value(a["embeddings"], (5, 5), np.inf)),
    ("compress", "centroids", lambda a: np.full((5, 9), np.nan, dtype=np.float32)),
    ("compress", "centroids", lambda a: f32(0, 9)),
    ("compress", "centroids", lambda a: f32(5, 10)),
    ("decompress", "codes", lambda a: with_value(a["codes"], 0, 5)),
    ("decompress", "residuals", lambda a: a["residuals"][:11].copy()),
    ("decompress", "residuals", lambda a: np.zeros((12, 2), dtype=np.uint8)),
    ("decompress", "inverse_norms", lambda a: np.zeros(13, dtype=np.uint8)),
    ("crc32c", "block_bytes", lambda a: 0),
    ("crc32c", "block_bytes", lambda a: -5),
]

# Where one argument is wrong in the light of another, the other may be the one that is named.
NAMED_INSTEAD = {
    ("centroid_interaction", "codes"): "codes|offsets",
    ("maxsim", "embeddings"): "embeddings|offsets",
    ("candidates", "n_passages"): "n_passages",
    ("maxsim_residual", "bucket_weights"): "bucket_weights",
}


@pytest.mark.parametrize(("name", "argument", "broken"), BROKEN)
def test_values_out_of_range(
    target: str,
    arguments: Arguments,
    name: str,
    argument: str,
    broken: Callable[[dict[str, Any]], Any],
) -> None:
    valid = arguments(name)
    if (name, argument) == ("candidates", "probes"):  # only dense lists are one per centroid
        valid |= {"ivf_centroids": None, "probes": np.array([2, 0], dtype=np.uint32)}
    wrong = valid | {argument: broken(valid)}
    pattern = f"^({NAMED_INSTEAD.get((name, argument), argument)}):"
    for module in (kernels, reference):
        call(module, name, valid)
        with pytest.raises(ValueError, match=pattern):
            call(module, name, wrong)


@pytest.mark.parametrize(
    ("name", "argument"),
    [("maxsim", "threads"), ("topk", "k"), ("pack", "bits"), ("unpack", "dim")],
)
def test_numbers_must_be_whole(arguments: Arguments, name: str, argument: str) -> None:
    valid = arguments(name)
    whole = {argument: np.int64(valid[argument])}
    for module in (kernels, reference):
        call(module, name, valid | whole)
        with pytest.raises((TypeError, ValueError)):
            call(module, name, valid | {argument: 1.5})


def test_an_unvisited_passage_is_not_looked_at(target: str, arguments: Arguments) -> None:
    valid = arguments("centroid_interaction") | {"pids": np.array([0], dtype=np.uint32)}
    damaged = valid | {
        "codes": with_value(valid["codes"], 11, 65535),
        "offsets": with_value(valid["offsets"], 4, -7),
    }
    for module in (kernels, reference):
        expected = call(module, "centroid_interaction", valid)
        assert np.array_equal(call(module, "centroid_interaction", damaged), expected)


def test_no_rows_and_no_pids(target: str) -> None:
    none, offsets = np.zeros(0, dtype=np.uint32), np.zeros(1, dtype=np.int64)
    query, bytes_ = np.ones((2, 3), dtype=np.float32), np.zeros((0, 1), dtype=np.uint8)
    weights, limits, norms = f32(2), (0.5, 1.0), np.zeros(0, dtype=np.uint8)
    for module in (kernels, reference):
        assert module.centroid_scores(f32(0, 3), query).shape == (0, 2)
        assert module.top_centroids(f32(0, 2), 4).shape == (2, 0)
        assert module.candidates(none, None, offsets, none, 0).shape == (0,)
        assert module.centroid_interaction(f32(0, 2), none, offsets, none).shape == (0,)
        assert module.maxsim(query, f32(0, 3), offsets).shape == (0,)
        assert module.maxsim(query, f32(0, 3), offsets, pids=none).shape == (0,)
        coded = module.maxsim_residual(
            query, f32(0, 2), none, bytes_, norms, weights, limits, offsets
        )
        assert coded.shape == (0,)
        assert module.topk(f32(0), 3).shape == (0,)
        assert [part.shape for part in module.assign(f32(0, 3), f32(1, 3))] == [(0,), (0,)]
        cells = f32(1, 3), f32(1, 3), np.array([0, 1], dtype=np.int64)
        found = module.assign_cells(f32(0, 3), *cells, probes=1)
        assert [part.shape for part in found] == [(0,), (0,)]
        assert module.sum_rows(f32(0, 3), none, 2).tolist() == [[0.0] * 3] * 2
        assert module.pack(bytes_, 1).shape == (0, 1)
        assert module.unpack(bytes_, 1, 3).shape == (0, 3)
        packed = module.compress(f32(0, 3), f32(1, 3), none, f32(1), weights, limits)
        assert [part.shape for part in packed] == [(0, 1), (0,)]
        assert module.decompress(none, bytes_, norms, f32(1, 3), weights, limits).shape == (0, 3)
        assert module.crc32c(norms).shape == (0,)
