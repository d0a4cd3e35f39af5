"""The parameters of one search, checked and completed."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from .. import limits
from ..errors import InvalidParameterError
from ..validation import check_flag, check_integer

GroupBy = Literal["document", "passage"]

GROUPINGS: Final = ("document", "passage")

NPROBE: Final = 8
"""Default nprobe: more did not find more on MiniLM's vectors, where best scores are low."""

NDOCS: Final = 1024
"""Default ndocs at least: fewer lose recall at k = 10, more gain little."""

NDOCS_PER_HIT: Final = 16
"""Default ndocs per k: four candidates are rescored for each hit wanted."""


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """How one query is answered; made by `make_plan`.

    Args:
        k: documents (or passages, see `group_by`) wanted, 1 to 10,000.
        nprobe: inverted lists taken per query vector, 1 to 4,096.
        centroid_score_threshold: in the first centroid interaction only tokens whose centroid
            scores at least this with some query vector take part; None lets all take part.
        ndocs: passages that survive the first centroid interaction; a quarter of them, and
            never fewer than k, are scored on their reconstructed vectors.
        exact: score every passage; nprobe, threshold and ndocs then have no effect.
        group_by: "document" gives each document's best passage, "passage" gives all.
        threads: 0 for all cores.
    """

    k: int
    nprobe: int
    centroid_score_threshold: float | None
    ndocs: int
    exact: bool = False
    group_by: GroupBy = "document"
    threads: int = 0

    @property
    def n_rescored(self) -> int:
        """Passages that are scored on their reconstructed vectors."""
        return max(self.ndocs // 4, self.k)


KNOWN: Final = tuple(field.name for field in fields(SearchPlan))
"""Names of all parameters."""


def make_plan(k: int = 10, **parameters: Any) -> SearchPlan:
    """Check search parameters and fill in the defaults for this k.

    Args:
        k: documents or passages wanted.
        parameters: fields of `SearchPlan` by name; those left out get their default.

    Raises:
        InvalidParameterError: a name is unknown or a value outside its range.
    """
    unknown = sorted(parameters.keys() - set(KNOWN))
    if unknown:
        raise InvalidParameterError(
            f"Unknown search parameter {', '.join(unknown)}: the known ones are {', '.join(KNOWN)}."
        )
    k = check_integer("k", k, 1, limits.MAX_K)
    values = {**default_parameters(k), **parameters}
    return SearchPlan(
        k=k,
        nprobe=check_integer("nprobe", values["nprobe"], 1, limits.MAX_NPROBE),
        centroid_score_threshold=_check_threshold(values["centroid_score_threshold"]),
        ndocs=check_integer("ndocs", values["ndocs"], 1, limits.MAX_NDOCS),
        exact=check_flag("exact", values.get("exact", False)),
        group_by=_check_grouping(values.get("group_by", "document")),
        threads=check_integer("threads", values.get("threads", 0), 0, limits.MAX_THREADS),
    )


def default_parameters(k: int) -> dict[str, Any]:
    """The shortlist parameters that a search of this k uses unless told otherwise.

    No threshold: what prunes well depends on how high an encoder's scores are.
    """
    return {
        "nprobe": NPROBE,
        "centroid_score_threshold": None,
        "ndocs": min(max(NDOCS, NDOCS_PER_HIT * k), limits.MAX_NDOCS),
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
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidParameterError(
            f"centroid_score_threshold is {value!r}: use a finite number (centroid scores of "
            "unit vectors lie between -1 and 1), or None to let every token take part."
        )
    return float(value)


def _check_grouping(value: object) -> GroupBy:
    if value not in GROUPINGS:
        raise InvalidParameterError(f"group_by is {value!r}: use 'document' or 'passage'.")
    return value
