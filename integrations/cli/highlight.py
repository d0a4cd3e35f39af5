"""Which words of a passage made it a result, and how they are shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from .output import printable

STRONG_SHARE: Final = 0.6
"""A word is shown when a query word's match with it gives this share of the best match."""

FUNCTION_WORD: Final = re.compile(
    "a|about|all|am|an|and|any|are|as|at|be|because|been|but|by|can|could|did|do|does|for|from|"
    "had|has|have|how|i|if|in|into|is|it|its|me|my|no|not|of|on|one|or|our|she|so|some|than|that|"
    "the|their|them|then|there|these|they|this|those|to|up|was|we|were|what|when|where|which|who|"
    "why|will|with|would|you|your",
    re.IGNORECASE,
)
"""Words that match everywhere and say nothing; in English, the language of most queries."""

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Pair:
    """A query word and the characters of a text that it met.

    Args:
        word: the query token's own characters; empty for markers and padding.
        start, end: of the text; equal where a marker was met.
        contribution: what the pair adds to the score.
    """

    word: str
    start: int
    end: int
    contribution: float


def strong_spans(pairs: Iterable[Pair], text: str) -> list[Span]:
    """The whole words of a text that answer words of a query best.

    Markers, padding, punctuation and function words take part in the score too, but are left
    out here.

    Returns:
        Disjoint character spans of the text, ascending.
    """
    words = [pair for pair in pairs if _says_something(pair, text)]
    bound = STRONG_SHARE * max((pair.contribution for pair in words), default=0.0)
    strong = {
        _whole_word(text, pair.start, pair.end) for pair in words if pair.contribution >= bound
    }
    return _merged(sorted(strong))


def _says_something(pair: Pair, text: str) -> bool:
    start, end = _whole_word(text, pair.start, pair.end)
    words = (pair.word, text[start:end])
    return all(any(map(str.isalnum, w)) and not FUNCTION_WORD.fullmatch(w) for w in words)


def _whole_word(text: str, start: int, end: int) -> Span:
    """Widen a piece of a word to the word; what is no piece of one stays as it is."""
    if not any(map(str.isalnum, text[start:end])):
        return start, end
    while start > 0 and text[start - 1].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum():
        end += 1
    return start, end


def _merged(spans: Sequence[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def window(spans: Sequence[Span], n_characters: int, width: int) -> Span:
    """The stretch of at most `width` characters that holds most highlighted ones."""
    if n_characters <= width:
        return 0, n_characters
    starts = [0, *(max(0, start - width // 8) for start, _ in spans)]

    def covered(start: int) -> int:
        return sum(max(0, min(b, start + width) - max(a, start)) for a, b in spans)

    best = min(max(starts, key=covered), n_characters - width)
    return best, best + width


def styled(passage: str, spans: Sequence[Span], width: int) -> Text:
    """The passage, or its best stretch, on one paragraph with the spans in colour."""
    start, end = window(spans, len(passage), width)
    while start and not passage[start - 1].isspace() and passage[start : start + 1].isalnum():
        start += 1
    text = Text("" if start == 0 else "… ")
    position = start
    for a, b in spans:
        if a < start or b > end:
            continue
        text.append(_flat(passage[position:a]))
        text.append(_flat(passage[a:b]), style="bold yellow")
        position = b
    text.append(_flat(passage[position:end]))
    return text.append("" if end == len(passage) else " …")


def _flat(text: str) -> str:
    """White space as single blanks, so that a result stays compact."""
    spaced = "".join(" " if c.isspace() else c for c in printable(text))
    while "  " in spaced:
        spaced = spaced.replace("  ", " ")
    return spaced
