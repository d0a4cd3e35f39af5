"""Cuts long texts into overlapping passages that each fit the encoder.

Lengths are counted in the encoder's own tokens, so nothing is lost to truncation. A cut goes to
the best place near the wanted length: the end of a paragraph, of a sentence, of a word, or else
of a token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from .vocabulary import Vocabulary

if TYPE_CHECKING:
    from tokenizers import Encoding

Span = tuple[int, int]

OVERLAP: Final = 0.125
"""Share of a passage's tokens that the next one repeats, so that no sentence is lost to a cut."""

# The next passage may begin this much before or after, to begin with a sentence.
_OVERLAP_SLACK: Final = 0.06
# A cut may come this much before or after the wanted place, to find the end of a sentence.
_EARLIER, _LATER = 0.15, 0.1
# A tokenizer may start a piece with a token that the whole text did not have there.
_RESERVE: Final = 50
# Token offsets take many times the text's own size while they are alive.
_BATCH_CHARACTERS: Final = 2_000_000

_GAP: Final = re.compile(r"\s+|(?<=[。！？])")
_SENTENCE_ENDS: Final = frozenset(".!?…。！？")
_CLOSERS: Final = "\"'”’»)]}"
_NOTHING, _WORD, _LINE, _SENTENCE, _PARAGRAPH = range(5)


class Chunker:
    """Splits texts into character spans of passages. Thread-safe.

    Args:
        vocabulary: tokenises exactly as the encoder will.
        budget: tokens of text that fit one passage.
    """

    def __init__(self, vocabulary: Vocabulary, budget: int) -> None:
        self._vocabulary = vocabulary
        self._budget = budget

    def split_many(self, texts: Sequence[str]) -> list[list[Span]]:
        """Spans of each text's passages.

        Each span, tokenised on its own, fits the budget. Together they cover every character
        that is not white space; none begins or ends with white space. A text of nothing but
        white space gives one empty span. Time is linear in the length of the texts.
        """
        spans: list[list[Span]] = []
        for batch in _by_size(texts):
            encodings = self._vocabulary.encode(batch)
            found = [self._windows(*pair) for pair in zip(batch, encodings, strict=True)]
            counts = [len(encoding) for encoding in encodings]
            del encodings
            spans += self._verified(batch, found, counts)
        return spans

    def _windows(self, text: str, encoding: Encoding) -> list[Span]:
        whole = _strip(text, 0, len(text))
        if len(encoding) <= self._budget:
            return [whole]
        offsets = np.asarray(encoding.offsets, dtype=np.int64)
        room = max(1, self._budget - 1 - self._budget // _RESERVE)
        spans: list[Span] = []
        for start, end in _cover(text, offsets, room):
            # White space may fill windows of its own, or leave a window nothing new.
            if start < end and (not spans or end > spans[-1][1]):
                spans.append((start, end))
        return spans or [whole]

    def _verified(
        self, texts: Sequence[str], found: list[list[Span]], counts: Sequence[int]
    ) -> list[list[Span]]:
        """Tokenise what was cut once more, and halve what no longer fits on its own.

        A piece of a text may have more tokens than it had inside the whole, where a cut went
        through a word or the tokenizer looks at what surrounds it.
        """
        cut = [
            (number, span)
            for number, spans in enumerate(found)
            for span in spans
            if counts[number] > self._budget or span != (0, len(texts[number]))
        ]
        encodings = self._vocabulary.encode([texts[number][slice(*span)] for number, span in cut])
        halves: dict[int, dict[Span, list[Span]]] = {}
        for (number, span), encoding in zip(cut, encodings, strict=True):
            if len(encoding) > self._budget:
                halves.setdefault(number, {})[span] = self._halved(texts[number], span)
        for number, parts in halves.items():
            fitting = {part for span in found[number] for part in parts.get(span, [span])}
            found[number] = sorted(fitting)
        return found

    def _halved(self, text: str, span: Span) -> list[Span]:
        start, end = _strip(text, *span)
        piece = text[start:end]
        if len(self._vocabulary.encode([piece])[0]) <= self._budget or end - start < 2:
            return [(start, end)]
        middle = start + _best_cut(piece, len(piece) // 4, len(piece) // 2)
        return [*self._halved(text, (start, middle)), *self._halved(text, (middle, end))]


def _cover(text: str, offsets: NDArray[np.int64], room: int) -> Iterator[Span]:
    """Spans of overlapping windows of at most `room` tokens that together cover the text."""
    # Offsets of the bytes of one character, or of combining marks, need not ascend.
    starts = np.maximum.accumulate(offsets[:, 0])
    ends = np.maximum.accumulate(offsets[:, 1])
    first, begin = 0, 0
    while len(offsets) - first > room:
        wanted = _window(len(offsets) - first, room)
        earliest = first + max(1, int(wanted * (1 - _EARLIER)))
        latest = first + min(room, int(wanted * (1 + _LATER)))
        stop = _best_cut(text, int(ends[earliest - 1]), int(ends[latest - 1]))
        yield _strip(text, begin, stop)
        last = int(np.searchsorted(ends, stop, side="right"))
        if last == len(offsets):
            begin = stop
            break
        size = last - first
        low = min(last, max(first + 1, last - int(size * (OVERLAP + _OVERLAP_SLACK))))
        high = max(low, last - int(size * (OVERLAP - _OVERLAP_SLACK)))
        # Characters that belong to no token may follow `stop`; they must not be skipped.
        again = min(stop, _best_cut(text, int(starts[low]), int(starts[high])))
        begin = again if again > begin else stop
        first = max(first + 1, int(np.searchsorted(starts, begin, side="left")))
    yield _strip(text, begin, len(text))


def _window(remaining: int, room: int) -> int:
    """Tokens of the next window, evened out so that the last one is no stub."""
    overlap = int(room * OVERLAP)
    count = -(-(remaining - overlap) // max(1, room - overlap))
    return min(room, -(-(remaining + (count - 1) * overlap) // count))


def _best_cut(text: str, low: int, high: int) -> int:
    """The best place to cut in [low, high]: the strongest boundary, and of equals the last."""
    best, place = _NOTHING, high
    for gap in _GAP.finditer(text, low, high):
        strength = _strength(text, gap.start(), gap.end())
        if strength >= best:
            best, place = strength, gap.end()
    return place


def _strength(text: str, start: int, end: int) -> int:
    """How strong a boundary the white space (or nothing) in [start, end) is."""
    lines = text.count("\n", start, end)
    if lines > 1:
        return _PARAGRAPH
    before = text[max(0, start - 4) : start].rstrip(_CLOSERS)
    if before and before[-1] in _SENTENCE_ENDS:
        return _SENTENCE
    return _LINE if lines else _WORD


def _strip(text: str, start: int, end: int) -> Span:
    """The span without white space at its ends; empty at `start` where there is nothing else."""
    part = text[start:end]
    bare = part.strip()
    if not bare:
        return start, start
    start += len(part) - len(part.lstrip())
    return start, start + len(bare)


def _by_size(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """The texts in order, in batches of bounded size."""
    first = characters = 0
    for number, text in enumerate(texts):
        if number > first and characters + len(text) > _BATCH_CHARACTERS:
            yield texts[first:number]
            first, characters = number, 0
        characters += len(text)
    if first < len(texts):
        yield texts[first:]
