"""Which words of a passage made it a result, and how they are shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from rich.text import Text

from .output import printable

if TYPE_CHECKING:
    from ...engine.search.explain import Match

STRONG_SHARE: Final = 0.6
"""A word is shown when a query word's match with it gives this share of the best match."""

Span = tuple[int, int]


def strong_spans(matches: Iterable[Match], query: str, passage: str) -> list[Span]:
    """The whole words of the passage that answer words of the query best.

    Markers, padding and punctuation take part in the score but are no words, and are left out.

    Args:
        matches: of `explain`, with spans relative to `passage`.

    Returns:
        Disjoint character spans of the passage, ascending.
    """
    words = [match for match in matches if _is_word(match, query, passage)]
    bound = STRONG_SHARE * max((match.contribution for match in words), default=0.0)
    strong = {
        _whole_word(passage, match.start, match.end)
        for match in words
        if match.contribution >= bound
    }
    return _merged(sorted(strong))


def _is_word(match: Match, query: str, passage: str) -> bool:
    asked = query[match.query_token.start : match.query_token.end]
    met = passage[match.start : match.end]
    return any(c.isalnum() for c in asked) and any(c.isalnum() for c in met)


def _whole_word(text: str, start: int, end: int) -> Span:
    """Widen a piece of a word to the word."""
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
