"""A codec: its file, and that the codecs it was appended to are its beginning."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...codec import Codec
from ...codec.cells import Cells
from ...errors import CorruptIndexError, InvalidParameterError
from ..codec_store import read_codec
from ..directory import Directory
from ..layout import codec_file
from ..manifest import CodecRef


def check_codec(directory: Directory, ref: CodecRef, dim: int) -> None:
    """Read a codec and compare what the manifest says of it and its prefixes.

    Raises:
        CorruptIndexError: it is not what was written, or not the one that is named.
        StorageError: the disk refused.
    """
    codec = read_codec(directory, ref, dim)
    for prefix in ref.prefixes:
        if _beginning_hash(codec, prefix.n_centroids) != prefix.hash:
            raise CorruptIndexError(
                f"{codec_file(ref.id)}: its first {prefix.n_centroids} centroids are not those of "
                f"codec {prefix.id}."
            )


def _beginning_hash(codec: Codec, n_centroids: int) -> str | None:
    """The hash of a codec of the first centroids; None where they are no whole cells."""
    cells = codec.cells
    if cells is not None:
        ends = np.flatnonzero(cells.offsets == n_centroids)
        if not len(ends):
            return None
        n_cells = int(ends[0])
        cells = Cells(cells.centroids[:n_cells].copy(), cells.offsets[: n_cells + 1].copy())
    try:
        return replace(codec, centroids=codec.centroids[:n_centroids].copy(), cells=cells).hash
    except InvalidParameterError:
        return None
