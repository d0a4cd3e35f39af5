"""Writes a foreign index as one of Weft: nothing is encoded, nothing is quantised twice."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from ..encoder.base import Encoder
from ..errors import (
    DimensionMismatchError,
    EncoderError,
    ForeignIndexError,
    IndexExistsError,
    StorageError,
)
from ..identity import EncoderSlot
from ..storage import create_index
from ..storage.adoption import Adopted, Adoption
from ..storage.manifest import IndexSettings
from ..validation import check_document, check_path, check_threads
from .colbert import read_colbert
from .fast_plaid import read_fast_plaid
from .foreign import ForeignIndex
from .texts import Piece, Texts, find_texts
from .tokens import Tokens

SEGMENT_TOKENS: Final = 1 << 26
"""Embeddings of one segment at most, unless a single document has more."""

SEGMENT_DOCUMENTS: Final = 500_000
"""Documents of one segment at most."""

EncoderLike = str | Path | Encoder | Literal[False] | None


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What was taken over.

    Args:
        kind: of the index that was read, "colbert-ai" or "fast-plaid".
        n_documents, n_passages, n_tokens: written.
        n_removed: passages that were left out, since they had been removed from the index.
        bits: residual bits per dimension.
        n_centroids: of its codec.
        encoder: name of the one that is recorded; None where there is none.
        texts: file that the texts are from; "" where none was found.
    """

    kind: str
    n_documents: int
    n_passages: int
    n_tokens: int
    n_removed: int
    bits: int
    n_centroids: int
    encoder: str | None
    texts: str


def import_colbert(
    source: str | Path,
    target: str | Path,
    *,
    collection: str | Path | None = None,
    encoder: EncoderLike = None,
    threads: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Make an index of one that colbert-ai, RAGatouille or fast-plaid wrote, without encoding.

    Centroids, buckets, codes and residuals are taken over as they are; a byte for the length of
    each rebuilt embedding and the inverted lists are computed. Texts, ids and metadata come from
    `collection`, from RAGatouille's files, or from the collection that the index names; where
    there are none, a passage's number is its id.

    Args:
        source: folder of the index, the one that holds `metadata.json`.
        target: folder of the new index; must not exist, or be empty.
        collection: `.tsv` (id, text, perhaps title) or `.jsonl` (`id`, `text`, perhaps `title` and
            other fields, which become metadata), one passage a line, in the order of the index.
        encoder: what made the index: folder, hub name or object; None takes what the index
            records; False records none, so that it is searched with vectors.
        threads: 0 for all cores.
        progress: called with the passages that are ready, and of all.

    Raises:
        ForeignIndexError: source holds no such index, or a damaged one; names the file.
        InvalidInputError: a collection that does not belong to it, or cannot be read.
        CheckpointError, MissingDependencyError: the encoder cannot be loaded.
        DimensionMismatchError: the encoder has another dim.
        IndexExistsError: target holds something.
        StorageError: the disk refused. As after every error, target is as it was.
    """
    check_threads(threads)
    destination = check_path(target)
    _require_room(destination)
    index = read_foreign(check_path(source))
    texts = find_texts(index, None if collection is None else check_path(collection))
    slot = _encoder_slot(index, encoder)
    aside = destination.absolute().parent / f".{destination.name}.importing-{secrets.token_hex(4)}"
    try:
        report = _Conversion(index, texts, slot, threads, progress).write(aside)
        aside.rename(destination)
    except OSError as error:
        _remove(aside)
        if isinstance(error, StorageError):
            raise
        raise StorageError(f"{destination} cannot be made: {error.strerror or error}.") from error
    except BaseException:
        _remove(aside)
        raise
    return report


def read_foreign(folder: Path) -> ForeignIndex:
    """The index in a folder, of whichever package made it.

    Raises:
        ForeignIndexError: none did, or a file is damaged.
    """
    if not (folder / "metadata.json").is_file():
        raise ForeignIndexError(
            f"{folder} holds no metadata.json: name the folder of the index itself, for "
            "RAGatouille .ragatouille/colbert/indexes/NAME."
        )
    if (folder / "centroids.pt").is_file():
        return read_colbert(folder)
    if (folder / "centroids.npy").is_file():
        return read_fast_plaid(folder)
    raise ForeignIndexError(
        f"{folder} holds neither centroids.pt (colbert-ai, RAGatouille) nor centroids.npy "
        "(fast-plaid): no other index can be imported."
    )


def _require_room(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise IndexExistsError(f"{target} is there and not empty: choose another folder.")


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _encoder_slot(index: ForeignIndex, encoder: EncoderLike) -> EncoderSlot:
    if encoder is False or (encoder is None and index.checkpoint is None):
        return EncoderSlot.for_new_index(None, index.dim)
    try:
        slot = EncoderSlot.for_new_index(encoder or index.checkpoint, None)
    except EncoderError as error:
        if encoder is not None:
            raise
        raise type(error)(
            f"The index was made with {index.checkpoint!r}, which cannot be loaded: {error}. Say "
            "where it is (--encoder), or import without (--no-encoder) and search with vectors."
        ) from error
    if slot.dim != index.dim:
        raise DimensionMismatchError(
            f"The encoder has dim {slot.dim}, the index {index.dim}: it was made by another one."
        )
    return slot


@dataclass(eq=False)
class _Conversion:
    """One import.

    Args:
        index: that is read.
        texts: its documents.
        slot: the encoder.
        threads: 0 for all cores.
        progress: called with the passages that are ready, and of all.
    """

    index: ForeignIndex
    texts: Texts
    slot: EncoderSlot
    threads: int
    progress: Callable[[int, int], None] | None
    n_documents: int = 0
    n_passages: int = 0
    n_tokens: int = 0

    def write(self, folder: Path) -> ImportReport:
        tokens = Tokens(self.index, self.threads)
        codec = tokens.codec
        settings = IndexSettings(bits=self.index.bits)
        record = self.slot.record()
        create_index(folder, dim=self.index.dim, encoder=record, settings=settings)
        with Adoption(folder, codec, int(tokens.doclens.sum()), self.threads) as adoption:
            for group in self._groups(tokens.doclens):
                self._stage(adoption, tokens, group)
            adoption.commit()
        return ImportReport(
            kind=self.index.kind,
            n_documents=self.n_documents,
            n_passages=self.n_passages,
            n_tokens=self.n_tokens,
            n_removed=int(np.count_nonzero(tokens.doclens == 0)),
            bits=self.index.bits,
            n_centroids=codec.n_centroids,
            encoder=None if record is None else str(record["name"]),
            texts=self.texts.source,
        )

    def _groups(self, doclens: NDArray[np.int64]) -> Iterator[list[Piece]]:
        """Documents with passages left, as many as become a segment."""
        group: list[Piece] = []
        n_tokens = 0
        for piece in self.texts.pieces():
            check_document(piece.document, text_required=False)
            kept = doclens[piece.pids] > 0
            if not kept.any():
                continue
            group.append(Piece(piece.document, piece.pids[kept], piece.spans[kept]))
            n_tokens += int(doclens[piece.pids].sum())
            if n_tokens >= SEGMENT_TOKENS or len(group) >= SEGMENT_DOCUMENTS:
                yield group
                group, n_tokens = [], 0
        if group:
            yield group

    def _stage(self, adoption: Adoption, tokens: Tokens, group: list[Piece]) -> None:
        pids = np.concatenate([piece.pids for piece in group])
        counts = [len(piece.pids) for piece in group]
        adopted = Adopted(
            documents=[piece.document for piece in group],
            passage_document=np.repeat(np.arange(len(group), dtype=np.uint32), counts),
            ordinals=np.concatenate([np.arange(n) for n in counts]),
            spans=np.concatenate([piece.spans for piece in group]),
            doclens=tokens.doclens[pids].astype(np.uint32),
        )
        adoption.stage(adopted, tokens.read(pids))
        self.n_documents += len(group)
        self.n_passages += len(pids)
        self.n_tokens += int(adopted.doclens.sum(dtype=np.int64))
        if self.progress is not None:
            self.progress(self.n_passages, len(tokens.doclens))
