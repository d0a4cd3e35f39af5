"""The encoder: one L2-normalised vector per token, for queries and for passages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from .base import EncoderIdentity, FloatArray, Token
from .checkpoint import Checkpoint, Layout
from .chunking import Chunker
from .identity import embedding_dim, identify
from .languages import group_by_language
from .progress import counting
from .runtime import Runtime
from .source import Source
from .tokenization import Tokenization, TokenSequence

Part = TypeVar("Part")


class CheckpointEncoder:
    """Encodes texts with a checkpoint of any of the three public layouts.

    Tokenizer and weights are read at first use, each once; all methods may be called from
    several threads. `load_encoder` makes one.

    Args:
        source: where the checkpoint lies.
        checkpoint: what was recognised there.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        dtype: `auto`, `fp32` or `bf16`: the precision of the model; vectors are float32 anyway.
        threads: PyTorch's threads, a setting of the whole process; 0 leaves it alone.
    """

    def __init__(
        self, source: Source, checkpoint: Checkpoint, *, device: str, dtype: str, threads: int
    ) -> None:
        self._source = source
        self._checkpoint = checkpoint
        self._device, self._dtype, self._threads = device, dtype, threads
        self._lock = threading.RLock()
        self._parts: dict[str, object] = {}

    @property
    def identity(self) -> EncoderIdentity:
        """What an index records and checks; hashes the checkpoint's files once."""
        return self._once("identity", lambda: identify(self._checkpoint, self._source.name))

    @property
    def source(self) -> str:
        """What `load_encoder` takes to load the same checkpoint again: a folder or a name."""
        return self._source.reference

    @property
    def dim(self) -> int:
        """Components per vector; reads no weights."""
        return self._once("dim", lambda: embedding_dim(self._checkpoint))

    @property
    def announcement(self) -> str | None:
        """One line for people where the checkpoint was not trained for late interaction."""
        if self._checkpoint.layout is not Layout.PLAIN:
            return None
        return (
            f"Zero-shot encoder {self._source.name!r} (not trained for late interaction); "
            "for ColBERTv2 choose encoder='colbert-ir/colbertv2.0', or a folder that holds it."
        )

    @property
    def languages(self) -> tuple[str, ...]:
        """Language adapters of the checkpoint; empty for nearly all."""
        return self._checkpoint.languages

    @property
    def encodes_elsewhere(self) -> bool:
        """Whether the model is on a GPU; reads its weights."""
        return self._runtime.device.type == "cuda"

    def warm_up(self) -> None:
        """Read tokenizer and weights now instead of at the first text.

        Raises:
            CheckpointError: a file is missing or damaged.
            InvalidParameterError: there is no such device.
        """
        _ = self._runtime

    def encode_queries(
        self, texts: Sequence[str], *, languages: Sequence[str | None] | None = None
    ) -> list[FloatArray]:
        """Encode queries.

        Args:
            texts: any strings; what exceeds `query_maxlen` tokens is cut, with one warning.
            languages: a BCP-47 tag per text, for checkpoints with language adapters.

        Returns:
            One float32 array [query tokens, dim] per text, rows of length 1.

        Raises:
            InvalidParameterError: a language that the checkpoint has no adapter for.
        """
        return self._encode(self._tokenization.queries(texts), languages, lambda count: None)

    def encode_passages(
        self,
        texts: Sequence[str],
        *,
        languages: Sequence[str | None] | None = None,
        progress: bool = False,
    ) -> list[FloatArray]:
        """Encode passages.

        Args:
            texts: any strings; `split` says which parts of a long text fit. What exceeds
                `document_maxlen` tokens is cut, with one warning.
            languages: a BCP-47 tag per text, for checkpoints with language adapters.
            progress: draw a progress bar on standard error.

        Returns:
            One float32 array [kept tokens, dim] per text, rows of length 1, at least one row.

        Raises:
            InvalidParameterError: a language that the checkpoint has no adapter for.
        """
        with counting(len(texts), shown=progress) as done:
            return self._encode(self._tokenization.passages(texts), languages, done)

    def split(self, text: str) -> list[tuple[int, int]]:
        """Character spans of overlapping passages of a text; see `split_many`."""
        return self.split_many([text])[0]

    def split_many(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Character spans of overlapping passages that each fit `document_maxlen`.

        They cover every character that is not white space, in order; one span where a text fits
        whole. Many texts in one call are faster than many calls.
        """
        return self._chunker.split_many(texts)

    def query_tokens(self, text: str) -> list[Token]:
        """The tokens behind the rows of `encode_queries`."""
        return self._tokenization.query_tokens(text)

    def passage_tokens(self, text: str) -> list[Token]:
        """The tokens behind the rows of `encode_passages`."""
        return self._tokenization.passage_tokens(text)

    def _encode(
        self,
        sequences: list[TokenSequence],
        languages: Sequence[str | None] | None,
        done: Callable[[int], None],
    ) -> list[FloatArray]:
        vectors: list[FloatArray | None] = [None] * len(sequences)
        groups = group_by_language(self._checkpoint, len(sequences), languages)
        for language, members in groups.items():
            found = self._runtime.encode([sequences[n] for n in members], language, done)
            for number, rows in zip(members, found, strict=True):
                vectors[number] = rows
        return [rows for rows in vectors if rows is not None]

    @property
    def _tokenization(self) -> Tokenization:
        return self._once("tokenization", lambda: Tokenization(self._checkpoint))

    @property
    def _chunker(self) -> Chunker:
        tokens = self._tokenization
        return self._once("chunker", lambda: Chunker(tokens.vocabulary, tokens.document_budget))

    @property
    def _runtime(self) -> Runtime:
        padding = self._tokenization.vocabulary.padding
        return self._once(
            "runtime",
            lambda: Runtime(
                self._checkpoint,
                padding,
                device=self._device,
                dtype=self._dtype,
                threads=self._threads,
            ),
        )

    def _once(self, name: str, make: Callable[[], Part]) -> Part:
        """The part of that name, made by the first caller while others wait."""
        with self._lock:
            if name not in self._parts:
                self._parts[name] = make()
            found: Part = self._parts[name]  # type: ignore[assignment]
            return found
