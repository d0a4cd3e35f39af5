"""Encode a collection's passages once and keep the embeddings on disk.

A cache is a folder per encoder and corpus with one safetensors file per run of documents.
Each file appears under its name only when it is complete, so an interrupted run goes on where
it stopped.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..encoder.base import Encoder
from ..errors import InvalidInputError
from .collections import Collection

SHARD_DOCUMENTS: Final = 256
Progress = Callable[[int, int], None]
"""Called with the number of documents that are ready, and of all."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PassageEmbeddings:
    """The uncompressed embeddings of consecutive documents' passages.

    Args:
        embeddings: float16 [tokens, dim].
        doclens: uint32 [passages]: rows of each passage.
        passage_document: uint32 [passages], non-decreasing: the document's number in the corpus.
        spans: int64 [passages, 2]: characters of the document's text.
    """

    embeddings: NDArray[np.float16]
    doclens: NDArray[np.uint32]
    passage_document: NDArray[np.uint32]
    spans: NDArray[np.int64]

    @property
    def offsets(self) -> NDArray[np.int64]:
        """int64 [passages + 1]: first row of each passage, and the end of the last."""
        return np.concatenate(([0], np.cumsum(self.doclens, dtype=np.int64)))

    @property
    def n_tokens(self) -> int:
        """Rows of `embeddings`."""
        return int(self.embeddings.shape[0])


def cache_folder(cache: Path, collection: Collection, encoder: Encoder) -> Path:
    """Name the folder of this corpus encoded by this encoder."""
    identity = encoder.identity.to_json()
    identity.pop("name")
    key = json.dumps([identity, collection.corpus_hash(), SHARD_DOCUMENTS], sort_keys=True)
    digest = hashlib.blake2b(key.encode(), digest_size=10).hexdigest()
    return cache / f"{collection.name}-{digest}"


def encode_collection(
    collection: Collection,
    encoder: Encoder,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> PassageEmbeddings:
    """Encode all documents, or read what an earlier run left in the cache.

    Args:
        cache: folder to keep the embeddings in; None keeps them in memory only.
        progress: called after each run of documents.

    Raises:
        InvalidInputError: a file of the cache is damaged.
    """
    shards = list(_shards(collection, encoder, cache, progress))
    return PassageEmbeddings(
        *(
            np.concatenate([getattr(shard, field) for shard in shards])
            for field in PassageEmbeddings.__dataclass_fields__
        )
    )


def _shards(
    collection: Collection, encoder: Encoder, cache: Path | None, progress: Progress | None
) -> Iterator[PassageEmbeddings]:
    folder = None if cache is None else cache_folder(cache, collection, encoder)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        logger.info("embeddings of %s are kept in %s", collection.name, folder)
    texts = list(collection.documents.values())
    for number, first in enumerate(range(0, len(texts), SHARD_DOCUMENTS)):
        some = texts[first : first + SHARD_DOCUMENTS]
        path = None if folder is None else folder / f"{number:06d}.safetensors"
        yield _load_or_encode(path, some, first, encoder)
        if progress is not None:
            progress(first + len(some), len(texts))


def _load_or_encode(
    path: Path | None, texts: Sequence[str], first: int, encoder: Encoder
) -> PassageEmbeddings:
    if path is not None and path.is_file():
        return _load(path)
    shard = encode_documents(texts, encoder, first=first)
    if path is not None:
        _save(shard, path)
    return shard


def encode_documents(
    texts: Sequence[str], encoder: Encoder, *, first: int = 0
) -> PassageEmbeddings:
    """Split documents into passages and encode these.

    Args:
        texts: at least one text that is not blank.
        first: the number of the first document in the corpus.
    """
    spans = encoder.split_many(texts)
    passages = [text[a:b] for text, parts in zip(texts, spans, strict=True) for a, b in parts]
    vectors = encoder.encode_passages(passages)
    counts = [len(parts) for parts in spans]
    return PassageEmbeddings(
        embeddings=np.concatenate(vectors).astype(np.float16),
        doclens=np.array([len(rows) for rows in vectors], dtype=np.uint32),
        passage_document=np.repeat(np.arange(first, first + len(texts), dtype=np.uint32), counts),
        spans=np.array([span for parts in spans for span in parts], dtype=np.int64).reshape(-1, 2),
    )


def _save(shard: PassageEmbeddings, path: Path) -> None:
    from safetensors.numpy import save_file

    aside = path.with_suffix(".part")
    save_file({name: getattr(shard, name) for name in shard.__dataclass_fields__}, aside)
    aside.replace(path)


def _load(path: Path) -> PassageEmbeddings:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tensors: dict[str, Any] = load_file(path)
        return PassageEmbeddings(**tensors)
    except (SafetensorError, TypeError, OSError) as error:
        raise InvalidInputError(
            f"{path} is no file of cached embeddings ({error}): delete it, it is made again."
        ) from error
