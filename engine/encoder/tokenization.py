"""Turns texts into the token sequences that are encoded, with the characters each came from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import CheckpointError
from .base import Token
from .checkpoint import Checkpoint, Layout
from .vocabulary import Vocabulary, load_vocabulary

if TYPE_CHECKING:
    from tokenizers import Encoding

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One text as the backbone sees it.

    Args:
        ids: token numbers, special tokens, markers and `[MASK]` included.
        attended: how many of them, from the first on, other tokens may look at.
        kept: positions whose vectors are kept, ascending.
    """

    ids: list[int]
    attended: int
    kept: list[int]


class Tokenization:
    """A checkpoint's tokenizer and its rules for queries and passages. Thread-safe.

    Raises:
        CheckpointError: the tokenizer cannot be read, or lacks a marker or the mask token.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.vocabulary: Vocabulary = load_vocabulary(checkpoint)
        self._rules = checkpoint.rules
        self._query_marker = self._marker(checkpoint, checkpoint.rules.query_marker)
        self._document_marker = self._marker(checkpoint, checkpoint.rules.document_marker)
        self._skipped = self._skiplist(checkpoint)
        self._mask = self._expansion_token(checkpoint)
        # Padding that a user typed into a query becomes expansion in this layout's own code.
        self._replace_padding = checkpoint.layout is Layout.HF_COLBERT
        self._warned: set[str] = set()

    @property
    def document_budget(self) -> int:
        """Tokens of a text that fit one passage beside special tokens and marker."""
        return self._budget(self._rules.document_maxlen, self._document_marker)

    @property
    def query_budget(self) -> int:
        """Tokens of a text that fit one query beside special tokens and marker."""
        return self._budget(self._rules.query_maxlen, self._query_marker)

    @property
    def markers(self) -> tuple[str | None, str | None]:
        """The tokens that serve as query and document marker, by their own names."""
        query, document = self._query_marker, self._document_marker
        name = self.vocabulary.name
        return (
            None if query is None else name(query),
            None if document is None else name(document),
        )

    @property
    def skipped(self) -> frozenset[int]:
        """Numbers of the document tokens whose vectors are dropped."""
        return self._skipped

    def passages(self, texts: Sequence[str]) -> list[TokenSequence]:
        """One sequence per text, cut at `document_maxlen` (a warning says so once)."""
        return [self._passage(encoding) for encoding in self.vocabulary.encode(texts)]

    def queries(self, texts: Sequence[str]) -> list[TokenSequence]:
        """One sequence per text, cut at `query_maxlen` (a warning says so once)."""
        return [self._query(encoding) for encoding in self.vocabulary.encode(texts)]

    def passage_tokens(self, text: str) -> list[Token]:
        """The tokens behind a passage's vectors, row for row."""
        encoding = self.vocabulary.encode([text])[0]
        return self._tokens(text, encoding, self._passage(encoding), self._document_marker)

    def query_tokens(self, text: str) -> list[Token]:
        """The tokens behind a query's vectors, row for row."""
        encoding = self.vocabulary.encode([text])[0]
        return self._tokens(text, encoding, self._query(encoding), self._query_marker)

    def _passage(self, encoding: Encoding) -> TokenSequence:
        content = self._cut(encoding.ids, self.document_budget, "passage")
        ids = self._assemble(content, self._document_marker)
        skipped = self._skipped
        kept = [position for position, number in enumerate(ids) if number not in skipped]
        return TokenSequence(ids, len(ids), kept or [0])

    def _query(self, encoding: Encoding) -> TokenSequence:
        ids = self._cut(encoding.ids, self.query_budget, "query")
        if self._replace_padding:
            ids = [self._mask if number == self.vocabulary.padding else number for number in ids]
        ids = self._assemble(ids, self._query_marker)
        attended = len(ids)
        if self._rules.expand_queries:
            ids += [self._mask] * (self._rules.query_maxlen - len(ids))
            if self._rules.attend_to_mask_tokens:
                attended = len(ids)
        return TokenSequence(ids, attended, list(range(len(ids))))

    def _assemble(self, content: list[int], marker: int | None) -> list[int]:
        """Content between special tokens; the marker comes second, as in training."""
        ids = [*self.vocabulary.prefix, *content, *self.vocabulary.suffix]
        ids = ids or [self.vocabulary.padding]
        return ids if marker is None else [ids[0], marker, *ids[1:]]

    def _cut(self, ids: list[int], budget: int, kind: str) -> list[int]:
        if len(ids) <= budget:
            return ids
        if kind not in self._warned:
            self._warned.add(kind)
            _logger.warning(
                "a %s of %d tokens was cut after %d, the length that the encoder was made for; "
                "further ones are cut without a warning",
                kind,
                len(ids),
                budget,
            )
        return ids[:budget]

    def _budget(self, maxlen: int, marker: int | None) -> int:
        special = len(self.vocabulary.prefix) + len(self.vocabulary.suffix)
        return max(1, maxlen - special - (marker is not None))

    def _tokens(
        self, text: str, encoding: Encoding, sequence: TokenSequence, marker: int | None
    ) -> list[Token]:
        spans = self._spans(text, encoding, len(sequence.ids), marker)
        return [
            Token(
                text[start:end] if start < end else self.vocabulary.name(sequence.ids[position]),
                start,
                end,
            )
            for position, (start, end) in (
                (position, spans[position]) for position in sequence.kept
            )
        ]

    def _spans(
        self, text: str, encoding: Encoding, length: int, marker: int | None
    ) -> list[tuple[int, int]]:
        """The characters behind each position; special tokens get the nearest end of the text."""
        special = len(self.vocabulary.prefix) + len(self.vocabulary.suffix)
        room = length - special - (marker is not None)
        content = [_trim(text, *span) for span in encoding.offsets[:room]]
        before = [(0, 0)] * len(self.vocabulary.prefix)
        after = [(len(text), len(text))] * (length - len(before) - len(content))
        spans = [*before, *content, *after]
        return spans if marker is None else [spans[0], (0, 0), *spans[1:]][:length]

    def _marker(self, checkpoint: Checkpoint, marker: str | None) -> int | None:
        if marker is None:
            return None
        number = self.vocabulary.number(marker)
        if number is None and checkpoint.layout is Layout.HF_COLBERT:
            # This layout's own code looks markers up without adding them, so that published
            # checkpoints with another vocabulary than BERT's were trained with this token.
            number = self.vocabulary.unknown
            _logger.info("marker %r is not in the vocabulary: the unknown token serves", marker)
        if number is None:
            raise CheckpointError(
                f"{checkpoint.backbone}: its tokenizer does not know the marker {marker!r} that "
                "the checkpoint's settings name; use the tokenizer files published with it"
            )
        return number

    def _skiplist(self, checkpoint: Checkpoint) -> frozenset[int]:
        words = self._rules.skiplist
        if checkpoint.layout is Layout.HF_COLBERT:
            first = [encoding.ids[:1] for encoding in self.vocabulary.encode(words)]
            return frozenset(number for ids in first for number in ids) | {self.vocabulary.padding}
        # A word that is no token of its own is left out: read as [UNK], it would drop them all.
        numbers = [self.vocabulary.number(word) for word in words]
        return frozenset(number for number in numbers if number is not None)

    def _expansion_token(self, checkpoint: Checkpoint) -> int:
        if self.vocabulary.mask is not None:
            return self.vocabulary.mask
        if self._rules.expand_queries and checkpoint.layout is Layout.HF_COLBERT:
            raise CheckpointError(
                f"{checkpoint.backbone}: its tokenizer has no mask token, which fills up queries"
            )
        end = self.vocabulary.end
        return end if end is not None else self.vocabulary.padding


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """Characters without the white space that some tokenizers count to a word."""
    part = text[start:end]
    if not part.strip():
        return start, end
    return start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())
