"""What `hybrid=` of a search may say: how late interaction and BM25 are brought together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from .. import limits
from ..errors import InvalidParameterError
from ..shown import shown
from ..validation import check_integer, finite_number

Fusion = Literal["rrf", "weighted"]

FUSIONS: Final = ("rrf", "weighted")


@dataclass(frozen=True, slots=True)
class Hybrid:
    """How a hybrid search makes one ranking of two.

    Either side finds its best `depth` documents. `"rrf"` adds 1 / (rank_constant + rank) of
    each side, so that only ranks count. `"weighted"` adds scores, each side's brought to 0 to 1:
    `weight` times that of late interaction and 1 - `weight` times that of BM25.

    Args:
        fusion: "rrf" or "weighted".
        weight: of late interaction, 0 to 1; 0 is BM25 alone, which finds only documents that
            hold a word of the query. It has no effect on "rrf".
        rank_constant: 1 to 10,000; the larger, the less the first ranks stand out. It has no
            effect on "weighted".
        depth: documents that either side contributes, 1 to 10,000; never fewer than are wanted.

    Raises:
        InvalidParameterError: a value outside its range.

    Source: Cormack et al. 2009 (reciprocal rank fusion, constant 60); Bruch et al. 2023, "An
    analysis of fusion functions for hybrid retrieval" (weighted scores).
    """

    fusion: Fusion = "rrf"
    weight: float = 0.7
    rank_constant: int = 60
    depth: int = 100

    def __post_init__(self) -> None:
        if self.fusion not in FUSIONS:
            raise InvalidParameterError(
                f"fusion of hybrid is {shown(self.fusion)}: use 'rrf' or 'weighted'."
            )
        weight = finite_number(self.weight)
        if weight is None or not 0 <= weight <= 1:
            raise InvalidParameterError(
                f"weight of hybrid is {shown(self.weight)}: use a number from 0 (BM25 alone) to 1 "
                "(late interaction alone)."
            )
        check_integer("rank_constant of hybrid", self.rank_constant, 1, 10_000)
        check_integer("depth of hybrid", self.depth, 1, limits.MAX_K)

    @property
    def highest(self) -> float:
        """What no fused score exceeds."""
        return 1.0 if self.fusion == "weighted" else 2 / (self.rank_constant + 1)


HybridLike = Hybrid | str | float | Mapping[str, Any] | None
"""`None`, `"rrf"`, `"weighted"`, a weight, a mapping of `Hybrid`'s fields, or a `Hybrid`."""

_FIELDS: Final = tuple(field.name for field in fields(Hybrid))


def make_hybrid(value: object) -> Hybrid | None:
    """What a caller wrote as `hybrid`, checked.

    Args:
        value: see `HybridLike`; a number is the weight of a weighted fusion.

    Returns:
        None for late interaction alone.

    Raises:
        InvalidParameterError: anything else, or a value outside its range.
    """
    if value is None or isinstance(value, Hybrid):
        return value
    if isinstance(value, str) and value in FUSIONS:
        return Hybrid(fusion=value)  # type: ignore[arg-type]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Hybrid(fusion="weighted", weight=value)
    if isinstance(value, Mapping):
        return _from_mapping(value)
    raise InvalidParameterError(
        f"hybrid is {shown(value)}: use 'rrf', 'weighted', the weight of late interaction from 0 "
        f"to 1, an object of {', '.join(_FIELDS)}, or None for late interaction alone."
    )


def _from_mapping(value: Mapping[Any, Any]) -> Hybrid:
    unknown = sorted(map(str, value.keys() - set(_FIELDS)))
    if unknown:
        raise InvalidParameterError(
            f"hybrid knows no {', '.join(map(shown, unknown))}: the known ones are "
            f"{', '.join(_FIELDS)}."
        )
    given = dict(value)
    fusion = given.setdefault("fusion", "weighted" if "weight" in given else "rrf")
    for name, owner in (("weight", "weighted"), ("rank_constant", "rrf")):
        if name in given and fusion != owner:
            raise InvalidParameterError(
                f"{name} of hybrid is a parameter of fusion={owner!r}: leave one out."
            )
    return Hybrid(**given)
