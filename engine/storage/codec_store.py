"""The codec's file: `codec/<id>/codec.safetensors`."""

from __future__ import annotations

from dataclasses import replace

from ..codec import Codec, TrainingReport
from ..codec.service import FAR_PERCENTILE
from ..errors import CorruptIndexError
from .directory import Directory
from .files import discard_folder, read_tensors, write_tensors
from .layout import CODECS, codec_file, new_identifier
from .manifest import CodecPrefix, CodecRef, FileRef


def write_codec(
    directory: Directory,
    codec: Codec,
    training: TrainingReport,
    *,
    n_embeddings: int,
    epoch: int = 1,
) -> CodecRef:
    """Write a codec that no manifest names yet; durable with its name.

    Args:
        directory: of the index.
        codec: to be written.
        training: what it loses, for the manifest.
        n_embeddings: of the collection.
        epoch: of the codec.
    """
    codec_id, file = _write(directory, codec)
    return CodecRef(
        id=codec_id,
        hash=codec.hash,
        epoch=epoch,
        n_centroids=codec.n_centroids,
        bits=codec.bits,
        n_embeddings=n_embeddings,
        centroid_cosine=training.centroid_cosine,
        far_cosine=training.far_cosine,
        far_share=FAR_PERCENTILE / 100,
        skew=training.skew,
        mean_cosine=training.heldout_error.mean_cosine,
        mean_squared_error=training.heldout_error.mean_squared_error,
        prefixes=(),
        file=file,
    )


def write_appended(
    directory: Directory,
    codec: Codec,
    shorter: CodecRef,
    *,
    centroid_cosine: float,
    far_share: float | None,
) -> CodecRef:
    """Write a codec that another was appended to; as `write_codec`.

    Args:
        directory: of the index.
        codec: its first centroids are those of the shorter one.
        shorter: the live codec, which becomes a prefix.
        centroid_cosine, far_share: what drift is measured against from now on.
    """
    codec_id, file = _write(directory, codec)
    return replace(
        shorter,
        id=codec_id,
        hash=codec.hash,
        n_centroids=codec.n_centroids,
        centroid_cosine=centroid_cosine,
        far_share=far_share,
        prefixes=(
            *shorter.prefixes,
            CodecPrefix(shorter.id, shorter.hash, shorter.n_centroids),
        ),
        file=file,
    )


def _write(directory: Directory, codec: Codec) -> tuple[str, FileRef]:
    """Write a codec under a new id, or leave nothing behind."""
    codec_id = new_identifier()
    try:
        file = write_tensors(directory, codec_file(codec_id), codec.tensors())
        directory.sync_folder(f"{CODECS}/{codec_id}")
        directory.sync_folder(CODECS)
    except BaseException:
        discard_codec(directory, codec_id)
        raise
    return codec_id, file


def read_codec(directory: Directory, ref: CodecRef, dim: int) -> Codec:
    """Read the codec that a manifest names.

    Raises:
        CorruptIndexError: it is missing, damaged, or not the one that was written.
    """
    name = codec_file(ref.id)
    codec = Codec.from_tensors(read_tensors(directory, name, ref.file))
    found = (codec.dim, codec.n_centroids, codec.bits)
    if found != (dim, ref.n_centroids, ref.bits):
        raise CorruptIndexError(
            f"{name}: dim, centroids and bits are {found}, the manifest says "
            f"{(dim, ref.n_centroids, ref.bits)}."
        )
    if codec.hash != ref.hash:
        raise CorruptIndexError(f"{name} is another codec than the manifest names.")
    return codec


def discard_codec(directory: Directory, codec_id: str) -> None:
    """Remove a codec that no manifest names."""
    discard_folder(directory, f"{CODECS}/{codec_id}")
