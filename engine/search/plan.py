"""The parameters of one search, checked and completed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Literal

from .. import limits
from ..errors import InvalidParameterError
from ..shown import shown
from ..validation import check_flag, check_integer, finite_number
from .hybrid import Hybrid, make_hybrid

if TYPE_CHECKING:
    from .device import Searcher

GroupBy = Literal["document", "passage"]
Algorithm = Literal["weft", "plaid"]

GROUPINGS: Final = ("document", "passage")

ALGORITHMS: Final = ("weft", "plaid")

EFFORTS: Final = ("fast", "balanced", "exact")

DEFAULT_EFFORT: Final = "balanced"

MOST_EXACT: Final = 10
"""Passages scored once more in float32: it puts the first into the right order, no more pays."""


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How one query is answered; made by `make_plan`.

    Args:
        k: documents (or passages, see `group_by`) wanted, 1 to 10,000.
        nprobe: inverted lists taken per query vector, 1 to 4,096.
        centroid_score_threshold: in PLAID's first centroid interaction only tokens whose centroid
            scores at least this with some query vector take part; None lets all take part.
        ndocs: passages that survive the first cut.
        n_rescored: of these, passages that are scored on their residuals, at least k.
        exact: score every passage in float32; nprobe, threshold, ndocs and n_rescored then have
            no effect.
        group_by: "document" gives each document's best passage, "passage" gives all.
        threads: 0 for all cores.
        algorithm: "weft" accumulates over inverted lists and works in bytes; "plaid" takes the
            four published stages in float32.
        hybrid: how the ranking is fused with BM25's; None is late interaction alone.
        device: what finds the shortlist instead of the processor; chosen when an index is opened.
    """

    k: int
    nprobe: int
    centroid_score_threshold: float | None
    ndocs: int
    n_rescored: int
    exact: bool = False
    group_by: GroupBy = "document"
    threads: int = 0
    algorithm: Algorithm = "weft"
    hybrid: Hybrid | None = None
    device: Searcher | None = None

    @property
    def n_exact(self) -> int:
        """Passages that are scored once more in float32 after a search in bytes."""
        return min(self.k, MOST_EXACT)


KNOWN: Final = (*(each.name for each in fields(SearchPlan) if each.name != "device"), "effort")
"""Names of all parameters."""

_KNOWN_SET: Final = frozenset(KNOWN)

_PLAIN: Final = frozenset({bool, int, float, str, NoneType, Hybrid})
"""Types whose values never change, and are equal only where they mean the same."""

REMEMBERED_PLANS: Final = 256
"""Plans that are kept: callers ask with the same few sets of parameters again and again."""


def make_plan(k: int = 10, **parameters: Any) -> SearchPlan:
    """Check search parameters and fill in the defaults for this k.

    Args:
        k: documents or passages wanted.
        parameters: fields of `SearchPlan` by name, and `effort`, which chooses those that are
            left out: "fast", "balanced" (the default) or "exact".

    Raises:
        InvalidParameterError: a name is unknown, a value outside its range, or two of them
            contradict each other.
    """
    if type(k) is int and _PLAIN.issuperset(map(type, parameters.values())):
        return _remembered_plan(k, **parameters)
    return _checked_plan(k, **parameters)


def _checked_plan(k: int, **parameters: Any) -> SearchPlan:
    """See `make_plan`."""
    unknown = sorted(parameters.keys() - _KNOWN_SET)
    if unknown:
        raise InvalidParameterError(
            f"Unknown search parameter {', '.join(unknown)}: the known ones are {', '.join(KNOWN)}."
        )
    k = check_integer("k", k, 1, limits.MAX_K)
    values = _complete(k, parameters)
    ndocs = check_integer("ndocs", values["ndocs"], 1, limits.MAX_NDOCS)
    rescored = values.get("n_rescored")
    if rescored is not None:
        rescored = check_integer("n_rescored", rescored, 1, limits.MAX_NDOCS)
    return SearchPlan(
        k=k,
        nprobe=check_integer("nprobe", values["nprobe"], 1, limits.MAX_NPROBE),
        centroid_score_threshold=_check_threshold(values["centroid_score_threshold"]),
        ndocs=ndocs,
        n_rescored=max(rescored or ndocs // 4, k),
        exact=check_flag("exact", values.get("exact", False)),
        group_by=_check_choice("group_by", values.get("group_by", "document"), GROUPINGS),
        threads=check_integer("threads", values.get("threads", 0), 0, limits.MAX_THREADS),
        algorithm=_check_choice("algorithm", values["algorithm"], ALGORITHMS),
        hybrid=make_hybrid(values.get("hybrid")),
    )


# By type as well: True equals 1, and one of them is refused. What is refused is not kept.
_remembered_plan = lru_cache(maxsize=REMEMBERED_PLANS, typed=True)(_checked_plan)


def _complete(k: int, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with what the effort gives for those that are left out."""
    given = dict(parameters)
    effort = _check_choice("effort", given.pop("effort", DEFAULT_EFFORT), EFFORTS)
    if effort == "exact" and given.setdefault("exact", True) is False:
        raise InvalidParameterError('effort="exact" contradicts exact=False: leave one out.')
    pruned = given.get("centroid_score_threshold") is not None
    if given.setdefault("algorithm", "plaid" if pruned else "weft") == "weft" and pruned:
        raise InvalidParameterError(
            'centroid_score_threshold is a parameter of algorithm="plaid": leave one out.'
        )
    defaults = default_parameters(k, effort)
    if given["algorithm"] == "plaid":
        defaults["nprobe"] = PLAID_NPROBE
    if "ndocs" in given:  # a quarter of it, not what belongs to another ndocs
        defaults.pop("n_rescored")
    return {**defaults, **given}


def default_parameters(k: int, effort: str = DEFAULT_EFFORT) -> dict[str, Any]:
    """The shortlist parameters that a search of this k uses unless told otherwise.

    No threshold: what prunes well depends on how high an encoder's scores are. The numbers were
    chosen by measurement, see docs/parameters.md.
    """
    nprobe, ndocs, per_hit, rescored, rescored_per_hit = _PRESETS[effort]
    most = limits.MAX_NDOCS
    return {
        "nprobe": nprobe,
        "centroid_score_threshold": None,
        "ndocs": min(max(ndocs, per_hit * k), most),
        "n_rescored": min(max(rescored, rescored_per_hit * k), most),
    }


PLAID_NPROBE: Final = 8
"""Default nprobe of PLAID's stages: more did not find more on MiniLM's vectors."""

# nprobe, ndocs at least and per hit, n_rescored at least and per hit.
_PRESETS: Final = {
    "fast": (24, 768, 16, 192, 5),
    "balanced": (32, 1024, 28, 320, 9),
    "exact": (32, 1024, 28, 320, 9),
}


def published_parameters(k: int) -> dict[str, Any]:
    """The shortlist parameters of the PLAID paper for this k.

    Their thresholds were chosen for ColBERTv2's own vectors; other encoders score lower, so
    that an absolute threshold prunes more than it should.

    Source: Santhanam et al. 2022 (PLAID), table 2; above k = 100, ndocs is at least 4k.
    """
    if k <= 10:
        return {"nprobe": 1, "centroid_score_threshold": 0.5, "ndocs": 256}
    if k <= 100:
        return {"nprobe": 2, "centroid_score_threshold": 0.45, "ndocs": 1024}
    return {"nprobe": 4, "centroid_score_threshold": 0.4, "ndocs": max(4 * k, 4096)}


def _check_threshold(value: object) -> float | None:
    if value is None:
        return None
    number = finite_number(value)
    if number is None:
        raise InvalidParameterError(
            f"centroid_score_threshold is {shown(value)}: use a finite number (centroid scores of "
            "unit vectors lie between -1 and 1), or None to let every token take part."
        )
    return number


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> Any:
    if value not in choices:
        listed = " or ".join(repr(choice) for choice in choices)
        raise InvalidParameterError(f"{name} is {shown(value)}: use {listed}.")
    return value
