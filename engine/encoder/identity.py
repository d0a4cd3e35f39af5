"""What an index remembers of its encoder: a hash of its files and the rules it encodes by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from ..errors import CheckpointError
from .base import EncoderIdentity
from .checkpoint import Checkpoint
from .projection import HF_COLBERT_WEIGHT
from .weights import tensor_shape, weight_files

_CHUNK_BYTES: Final = 1 << 20
_TOKENIZER_FILES: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "tokenizer.model",
)
# They tell where a configuration was written, and change no vector.
_INCIDENTAL: Final = frozenset({"_name_or_path", "transformers_version", "torch_dtype", "dtype"})


def identify(checkpoint: Checkpoint, name: str) -> EncoderIdentity:
    """The identity of an encoder that uses this checkpoint.

    Equal identities give equal vectors up to rounding: precision and device are left out, so
    that an index made on a GPU can be searched without one.

    Raises:
        CheckpointError: a weight file is missing.
    """
    rules = checkpoint.rules
    return EncoderIdentity(
        name=name,
        content_hash=_content_hash(checkpoint),
        dim=embedding_dim(checkpoint),
        query_maxlen=rules.query_maxlen,
        document_maxlen=rules.document_maxlen,
        details={
            "layout": str(checkpoint.layout),
            "query_marker": rules.query_marker,
            "document_marker": rules.document_marker,
            "expand_queries": rules.expand_queries,
            "attend_to_mask_tokens": rules.attend_to_mask_tokens,
            "skiplist": list(rules.skiplist),
            "lower_case": rules.lower_case,
            "projection": [module.out_features for module in checkpoint.dense],
        },
    )


def embedding_dim(checkpoint: Checkpoint) -> int:
    """Components per vector, without loading the model.

    Raises:
        CheckpointError: the projection is missing.
    """
    if checkpoint.dim is not None:
        return checkpoint.dim
    return tensor_shape(checkpoint.folder, HF_COLBERT_WEIGHT)[0]


def _content_hash(checkpoint: Checkpoint) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for label, content in _configurations(checkpoint):
        _frame(digest, label, json.dumps(content, sort_keys=True).encode())
    for label, path in _files(checkpoint):
        _frame(digest, label, _file_hash(path))
    return digest.hexdigest()


def _configurations(checkpoint: Checkpoint) -> Iterator[tuple[str, dict[str, Any]]]:
    kept = {key: value for key, value in checkpoint.config.items() if key not in _INCIDENTAL}
    yield "config", kept
    for number, module in enumerate(checkpoint.dense):
        yield (
            f"dense {number}",
            {
                "in_features": module.in_features,
                "out_features": module.out_features,
                "bias": module.bias,
                "activation": module.activation,
                "residual": module.residual,
            },
        )


def _files(checkpoint: Checkpoint) -> Iterator[tuple[str, Path]]:
    for number, path in enumerate(weight_files(checkpoint.backbone)):
        yield f"weights {number}", path
    for number, module in enumerate(checkpoint.dense):
        for shard, path in enumerate(weight_files(module.folder)):
            yield f"dense weights {number} {shard}", path
    for name in _TOKENIZER_FILES:
        path = checkpoint.backbone / name
        if path.is_file():
            yield name, path


def _frame(digest: hashlib.blake2b, label: str, content: bytes) -> None:
    # Lengths in front keep two different lists of files from giving the same bytes.
    for part in (label.encode(), content):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)


def _file_hash(path: Path) -> bytes:
    digest = hashlib.blake2b(digest_size=32)
    buffer = bytearray(_CHUNK_BYTES)
    view = memoryview(buffer)
    try:
        with path.open("rb", buffering=0) as file:
            while read := file.readinto(view):
                digest.update(view[:read])
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror})") from error
    return digest.digest()
