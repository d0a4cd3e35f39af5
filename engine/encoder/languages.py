"""Which language adapter a text goes through (X-MOD backbones; all others have none)."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import InvalidParameterError
from .checkpoint import Checkpoint


def group_by_language(
    checkpoint: Checkpoint, count: int, languages: Sequence[str | None] | None
) -> dict[str | None, list[int]]:
    """Which of `count` texts share a language adapter, by their positions.

    Args:
        checkpoint: knows the adapters and the default one.
        count: number of texts.
        languages: a BCP-47 tag or None per text; None for the default language throughout.

    Returns:
        Adapter to ascending positions; one entry under None where there are no adapters.

    Raises:
        InvalidParameterError: a language without an adapter, or not one entry per text.
    """
    if languages is None:
        languages = [None] * count
    if len(languages) != count:
        raise InvalidParameterError(
            f"languages has {len(languages)} entries for {count} texts; give one per text"
        )
    groups: dict[str | None, list[int]] = {}
    for number, language in enumerate(languages):
        groups.setdefault(_adapter(checkpoint, language), []).append(number)
    return groups


def _adapter(checkpoint: Checkpoint, language: str | None) -> str | None:
    """The adapter for a tag: `de`, `de-AT` and `de_DE` all find `de_DE`."""
    known = checkpoint.languages
    if not known:
        return None
    wanted = (language or checkpoint.default_language or "").replace("-", "_").lower()
    primary = wanted.partition("_")[0]
    for adapter in known:
        if adapter.lower() == wanted:
            return adapter
    for adapter in known:
        if primary and adapter.lower().partition("_")[0] == primary:
            return adapter
    raise InvalidParameterError(
        f"this encoder has no adapter for language {language!r}; give one of {', '.join(known)}"
    )
