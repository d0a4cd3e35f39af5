"""Kernels: functions on arrays that know nothing of files, ids or text.

They run in C++ on the best target of this machine, chosen at run time (`targets`,
`active_target`, the environment variables WEFT_TARGET and WEFT_THREADS), and in NumPy
(`weft.kernels.reference`) where the native module is missing.
"""

from .cell_index import CellIndex, cell_index
from .checksum import crc32c
from .coded_search import CodedSegment, SearchCodec, coded_segment, search_codec
from .cuda_build import DeviceBuilder, device_builder
from .cuda_device import CudaStatus, cuda_status
from .cuda_errors import (
    DeviceError,
    DeviceFailedError,
    DeviceMemoryError,
    DeviceUnavailableError,
)
from .cuda_search import (
    MAX_DEVICE_DIM,
    DeviceCodec,
    DeviceSegment,
    device_codec,
    device_segment,
)
from .dispatch import active_target, default_threads, targets, use_target
from .residual import (
    assign,
    assign_cells,
    compress,
    decompress,
    pack,
    squared_lengths,
    sum_rows,
    unpack,
)
from .scoring import (
    candidates,
    centroid_interaction,
    centroid_scores,
    maxsim,
    maxsim_residual,
    top_centroids,
    topk,
)

__all__ = [
    "MAX_DEVICE_DIM",
    "CellIndex",
    "CodedSegment",
    "CudaStatus",
    "DeviceBuilder",
    "DeviceCodec",
    "DeviceError",
    "DeviceFailedError",
    "DeviceMemoryError",
    "DeviceSegment",
    "DeviceUnavailableError",
    "SearchCodec",
    "active_target",
    "assign",
    "assign_cells",
    "candidates",
    "cell_index",
    "centroid_interaction",
    "centroid_scores",
    "coded_segment",
    "compress",
    "crc32c",
    "cuda_status",
    "decompress",
    "default_threads",
    "device_builder",
    "device_codec",
    "device_segment",
    "maxsim",
    "maxsim_residual",
    "pack",
    "search_codec",
    "squared_lengths",
    "sum_rows",
    "targets",
    "top_centroids",
    "topk",
    "unpack",
    "use_target",
]
