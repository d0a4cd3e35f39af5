"""What a search through an adapter may be told: k, filter, keys of extra metadata, parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ...engine.errors import InvalidParameterError
from ...engine.search.filters import parse_filter
from ...engine.search.hybrid import Hybrid, make_hybrid
from ...engine.search.plan import KNOWN, make_plan
from ...engine.shown import shown

DEFAULT_K: Final = 4
"""Documents of a search; what LangChain's own stores return."""

KEYS: Final = ("score_key", "explain_key", "passage_key")
"""Names under which metadata is added to what is found, on request."""

PARAMETERS: Final = tuple(name for name in KNOWN if name != "k")
"""What is handed on to `Index.search`."""

NAMES: Final = ("k", "filter", *KEYS, *PARAMETERS)
"""Everything that a call may set."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How one query is answered.

    Args:
        k: documents wanted.
        filter: conditions on metadata.
        score_key: where a document's metadata gets its score; None adds nothing.
        explain_key: likewise for which of its characters matched which query token.
        passage_key: likewise for the span of the passage that matched best.
        parameters: for `Index.search`.
    """

    k: int
    filter: Mapping[str, Any] | None = None
    score_key: str | None = None
    explain_key: str | None = None
    passage_key: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def by_passage(self) -> bool:
        """Whether hits are passages rather than documents."""
        return self.parameters.get("group_by") == "passage"

    @property
    def hybrid(self) -> Hybrid | None:
        """How the ranking is fused with BM25's; None is late interaction alone."""
        return make_hybrid(self.parameters.get("hybrid"))


def make_settings(given: Mapping[str, Any]) -> Settings:
    """Check what a search was told.

    Args:
        given: by name; a parameter that is None counts as left out.

    Raises:
        InvalidParameterError: an unknown name, or a value that cannot be used.
        InvalidFilterError: a filter that is not understood.
    """
    unknown = sorted(map(str, given.keys() - set(NAMES)))
    if unknown:
        raise InvalidParameterError(
            f"Unknown search argument {', '.join(unknown)}: the known ones are {', '.join(NAMES)}."
        )
    parameters = {name: given[name] for name in PARAMETERS if given.get(name) is not None}
    keys = {name: _key(name, given.get(name)) for name in KEYS}
    chosen = [key for key in keys.values() if key is not None]
    if len(set(chosen)) < len(chosen):
        raise InvalidParameterError(f"{', '.join(KEYS)} must differ: name them apart.")
    k = given.get("k", DEFAULT_K)
    make_plan(k, **parameters)
    if given.get("filter") is not None:
        parse_filter(given["filter"])
    settings = Settings(k=k, filter=given.get("filter"), parameters=parameters, **keys)
    if settings.by_passage and settings.explain_key is not None:
        raise InvalidParameterError(
            'explain_key explains the best passage of a document: leave out group_by="passage".'
        )
    return settings


def _key(name: str, value: object) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        raise InvalidParameterError(f"{name} is {shown(value)}: use a name, or None.")
    return value
