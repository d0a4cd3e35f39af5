"""The index: create, open, add, upsert, delete, get, search, explain, snapshot, compact, stats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from . import limits
from .changes import AddResult, Changes, DeleteResult
from .check import CheckReport, check
from .documents import Document
from .encoder.base import Encoder
from .encoder.placement import placed
from .errors import InvalidQueryError
from .identity import EncoderSlot
from .reading import Reading
from .search.device import SearchDevice, choose_device
from .stats import IndexStats, index_stats
from .storage import create_index
from .storage.compaction import CompactionReport
from .storage.maintenance import MaintenanceReport
from .storage.manifest import IndexSettings
from .storage.reader import Reader
from .tuning import Tuning, tune
from .validation import (
    check_dim,
    check_flag,
    check_path,
    check_query_text,
    check_threads,
)
from .view import IndexView, Query


class Index(Reading):
    """A directory of documents that can be searched while it changes.

    Make one with `Index.create` or `Index.open`. All methods may be called from several
    threads, and several processes may open the same index; readers see each commit as soon as
    it is made. Usable as a context manager.
    """

    def __init__(
        self,
        path: Path,
        encoder: EncoderSlot,
        *,
        mmap: bool,
        threads: int,
        device: SearchDevice | None = None,
    ) -> None:
        self.path = path
        self.threads = threads
        self._device = device
        self._reader = Reader(path, mmap=mmap)
        self._encoder = encoder
        building = None if device is None else device.for_building()
        self._changes = Changes(self._reader, encoder, threads, building)

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        encoder: str | Path | Encoder | None = None,
        dim: int | None = None,
        bits: int = limits.DEFAULT_BITS,
        flat_below_tokens: int = limits.FLAT_BELOW_TOKENS,
        device: str | None = None,
        pool_factor: int = 1,
        threads: int = 0,
    ) -> Self:
        """Make an empty index in a new or empty folder.

        Args:
            path: the folder.
            encoder: a checkpoint folder, a hub name or an encoder object; None is
                weft-mini, unless `dim` is given.
            dim: components per vector, for an index of ready-made embeddings without an
                encoder; not together with `encoder`.
            bits: residual bits per dimension once the index is coded: 1, 2, 4 or 8.
            flat_below_tokens: size below which the index keeps float16 embeddings and scores
                them exactly; at or above it `compact` trains a codec and compresses.
            pool_factor: tokens of a passage that are pooled into one vector, on average: an
                index of so many times fewer vectors, for some loss of quality; 1 to 16.
            threads: for searching and compressing; 0 is all cores. The encoder's are PyTorch's.
            device: see `open`.

        Raises:
            IndexExistsError: the folder holds an index, or other files.
            InvalidParameterError: a parameter outside its range.
            DeviceUnavailableError: no GPU can be used, and one is asked for.
            CheckpointError, MissingDependencyError: the encoder cannot be loaded.
        """
        settings = IndexSettings(bits=bits, flat_below_tokens=flat_below_tokens)
        path = check_path(path)
        check_threads(threads)
        chosen = choose_device(device)
        slot = EncoderSlot.for_new_index(_placed(encoder, dim, chosen), dim, pool_factor)
        create_index(path, dim=check_dim(slot.dim), encoder=slot.record(), settings=settings)
        return cls(path, slot, mmap=True, threads=threads, device=chosen)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        encoder: str | Path | Encoder | None = None,
        mmap: bool = True,
        threads: int = 0,
        device: str | None = None,
    ) -> Self:
        """Open an index; the encoder it was made with is loaded when a text first needs it.

        Args:
            path: the folder.
            encoder: where the encoder is now, if it is not where it was; it must be the same.
            mmap: map the files (memory is shared and reclaimable); False reads them.
            threads: for searching and compressing; 0 is all cores. The encoder's are PyTorch's.
            device: where coded segments are searched and made: "cpu"; "cuda" or "cuda:N", a GPU
                that must be there; "auto", a GPU where one can be used, with one logged line where
                not, and the processor whenever it refuses or fails. None is what WEFT_DEVICE says,
                or "cpu".

        Raises:
            IndexNotFoundError: the folder holds no index.
            DeviceUnavailableError: no GPU can be used, and one is asked for.
            UnsupportedFormatError: a newer Weft wrote it.
            CorruptIndexError: the manifest is damaged.
            EncoderMismatchError: `encoder` is not the one that the index was made with.
        """
        path = check_path(path)
        check_threads(threads)
        check_flag("mmap", mmap)
        chosen = choose_device(device)
        slot = EncoderSlot(encoder)
        slot.device = None if chosen is None else chosen.name
        index = cls(path, slot, mmap=mmap, threads=threads, device=chosen)
        with index.snapshot() as view:
            slot.expect(view.manifest.encoder, view.manifest.dim)
        return index

    def add(
        self,
        texts: Sequence[str | Document] | None = None,
        *,
        ids: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        embeddings: Sequence[NDArray[Any]] | None = None,
        progress: bool = False,
    ) -> AddResult:
        """Add documents in one commit; they can be found when the call returns.

        Args:
            texts: strings or `Document`s. Long ones are split into overlapping passages.
            ids: one per document; random ones are made when left out.
            metadata: one mapping of JSON values per document.
            embeddings: one array float32, float16 or float64 [tokens, dim] per document, unit
                rows: stored as they are, one passage per document, and nothing is encoded.
                `texts` may then be left out.
            progress: show a progress bar while encoding.

        Raises:
            DuplicateDocumentError: an id is in the index, or twice in the call.
            InvalidDocumentError, InvalidEmbeddingError, DimensionMismatchError: bad input; the
                message names the document. Nothing has been written.
            StorageError: the disk refused; nothing of the call is visible.
        """
        return self._changes.add(texts, ids, metadata, embeddings, progress, replace=False)

    def upsert(
        self,
        texts: Sequence[str | Document] | None = None,
        *,
        ids: Sequence[str] | None = None,
        metadata: Sequence[Mapping[str, Any]] | None = None,
        embeddings: Sequence[NDArray[Any]] | None = None,
        progress: bool = False,
    ) -> AddResult:
        """Add documents, replacing those whose id is in the index, in one commit.

        Arguments, result and errors are those of `add`, but an id that is in the index is
        replaced with all its passages.
        """
        return self._changes.add(texts, ids, metadata, embeddings, progress, replace=True)

    def delete(self, ids: Sequence[str]) -> DeleteResult:
        """Remove documents with all their passages in one commit.

        Args:
            ids: document ids; unknown ones are reported, not an error.

        Raises:
            InvalidDocumentError: an entry is not a usable id, or `ids` is a single string.
        """
        return self._changes.delete(ids)

    def encode_queries(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """The vectors that `search` would use for these texts, float32 [nq, dim] each."""
        if isinstance(texts, str | bytes) or not isinstance(texts, Sequence):
            raise InvalidQueryError(f"texts is a {type(texts).__name__}: pass a list of queries.")
        return self._encoder.get().encode_queries([check_query_text(text) for text in texts])

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded on first use."""
        return self._encoder.get()

    def tune(
        self,
        queries: Sequence[Query] | None = None,
        *,
        recall: float = 0.95,
        k: int = 10,
        sample: int | None = None,
        seconds: float = 60,
    ) -> Tuning:
        """Find the cheapest `nprobe`, `ndocs` and `n_rescored` that reach a recall.

        The recall is the share of the k best passages by `exact=True` that a search finds, in
        the mean over the queries. The index stays as it is.

        Args:
            queries: texts or arrays [nq, dim] such as will be asked, some hundreds. None makes
                some of the beginnings of the index's own passages, which is optimistic.
            recall: wanted, above 0 and up to 1.
            k: passages wanted per query, 1 to 1,000.
            sample: queries made where none are given, 1 to 10,000; None makes 200.
            seconds: that measuring may take; half of it goes into exact scores, for as many of
                the queries as it suffices for.

        Raises:
            InvalidParameterError: recall, k, sample or seconds out of range.
            InvalidQueryError, DimensionMismatchError: queries that cannot be searched.
            InvalidInputError: nothing to tune, since no passage is compressed, or no more than k.
        """
        with self.snapshot() as view:
            return tune(
                view,
                queries,
                recall=recall,
                k=k,
                sample=sample,
                seconds=seconds,
                threads=self.threads,
            )

    @property
    def device(self) -> str:
        """Where coded segments are searched: "cpu", or a GPU as "cuda:0"."""
        return "cpu" if self._device is None or self._device.given_up else self._device.name

    def snapshot(self) -> IndexView:
        """A view of the newest generation that stays as it is; close it, or use `with`."""
        return IndexView(self._reader.snapshot(), self._encoder, self.threads, self._device)

    def compact(self) -> CompactionReport:
        """Merge segments, drop deleted passages, and compress once the index is large enough.

        Searching goes on meanwhile. From `flat_below_tokens` on, the first call trains the
        codec and turns flat segments into coded ones. Everything is written anew in one commit;
        `maintain` does no more than is due.
        """
        return self._changes.compact()

    def maintain(
        self, *, seconds: float | None = None, max_steps: int | None = None
    ) -> MaintenanceReport:
        """Do what is due to the index, step by step; searches and other writers go on meanwhile.

        Trains the codec, appends centroids where what was added has drifted, retrains once the
        index has grown eightfold, converts segments to the newest codec, merges small segments
        and drops deleted passages little by little, and gives back space. Each step is a commit;
        it may be interrupted at any moment, and the next call goes on from there.

        Args:
            seconds: no further step is begun after so long; None does all that is due.
            max_steps: steps at most; None does all that is due.

        Returns:
            The steps with their reasons, and what is due but was left. Where nothing is due the
            index stays as it is.

        Raises:
            InvalidParameterError: seconds or max_steps out of range.
            CorruptIndexError: a segment is damaged; what was done before stays.
            StorageError: the disk refused; likewise.
        """
        return self._changes.maintain(seconds, max_steps)

    def stats(self) -> IndexStats:
        """Sizes, segments, codec and reconstruction error of the newest generation."""
        with self.snapshot() as view:
            return index_stats(view)

    def check(self) -> CheckReport:
        """Verify every byte of the newest generation; see `weft.check`, which opens nothing."""
        return check(self.path)

    def close(self) -> None:
        """Let go of files and pins; the index cannot be used afterwards."""
        self._changes.close()
        self._reader.close()

    def __repr__(self) -> str:
        return f"Index({str(self.path)!r})"


def _placed(encoder: Any, dim: int | None, device: SearchDevice | None) -> Any:
    """An encoder on the GPU that searches; as it is for an index of ready-made embeddings."""
    if device is None or (encoder is None and dim is not None):
        return encoder
    return placed(encoder, device.name)
