"""The engines: where each comes from, how it is built, and at which settings it is searched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Parameters = Mapping[str, Any]
DEPTHS: Final = (10, 100)


@dataclass(frozen=True)
class Setting:
    """Search parameters under a name.

    Args:
        name: as it stands in the tables.
        shallow: parameters at k = 10.
        deep: parameters at k = 100; None for the same.
    """

    name: str
    shallow: Parameters = field(default_factory=dict)
    deep: Parameters | None = None

    def parameters(self, k: int) -> Parameters:
        """What is given to the engine for this k."""
        return self.shallow if self.deep is None or k <= DEPTHS[0] else self.deep


@dataclass(frozen=True, eq=False)
class Variant:
    """One index of an engine, with the settings at which it is searched.

    Args:
        name: unique; also names the folder of its index.
        engine: module of `benchmarks.peers.engines`.
        title: as it stands in the tables.
        peer: the peer whose environment it runs in; None for Weft's own.
        options: given to the engine's build.
        settings: at which it is searched.
    """

    name: str
    engine: str
    title: str
    settings: tuple[Setting, ...]
    peer: str | None = None
    options: Parameters = field(default_factory=dict)

    @property
    def is_weft(self) -> bool:
        """Whether the others are compared with it."""
        return self.engine == "weft_index"


DEFAULT: Final = Setting("default")

WEFT_SETTINGS: Final = (
    Setting("ndocs 256 (1,024)", {"nprobe": 16, "ndocs": 256}, {"nprobe": 16, "ndocs": 1024}),
    Setting(
        "ndocs 384 (1,280)",
        {"nprobe": 16, "ndocs": 384, "n_rescored": 128},
        {"nprobe": 16, "ndocs": 1280},
    ),
    Setting("fast", {"effort": "fast"}),
    Setting("balanced (default)", {}),
    Setting("ndocs 4096", {"ndocs": 4096, "n_rescored": 1024}),
)

PUBLISHED: Final = Setting(
    "default",
    {"ncells": 1, "centroid_score_threshold": 0.5, "ndocs": 256},
    {"ncells": 2, "centroid_score_threshold": 0.45, "ndocs": 1024},
)
THOROUGH: Final = Setting(
    "ncells 4, .4, 4096", {"ncells": 4, "centroid_score_threshold": 0.4, "ndocs": 4096}
)

VARIANTS: Final = (
    Variant("weft-4", "weft_index", "Weft, 4 bits", WEFT_SETTINGS, options={"bits": 4}),
    Variant("weft-2", "weft_index", "Weft, 2 bits", WEFT_SETTINGS, options={"bits": 2}),
    Variant(
        "weft-flat",
        "weft_index",
        "Weft, flat (exact)",
        (Setting("exact", {"effort": "exact"}),),
        options={"flat": True},
    ),
    Variant("torch", "exact_torch", "exact, torch fp32", (DEFAULT,)),
    Variant("maxsim-cpu", "maxsim", "exact, maxsim-cpu 0.1", (DEFAULT,), peer="maxsim-cpu"),
    Variant(
        "tachiom",
        "tachiom",
        "tachiom 0.4",
        (
            Setting("k_centroids 10", {"k_centroids": 10}),
            DEFAULT,
            Setting("k_centroids 100", {"k_centroids": 100}),
        ),
        peer="tachiom",
    ),
    Variant(
        "colbert-2",
        "colbert",
        "colbert-ai 0.2.22, 2 bits",
        (PUBLISHED, THOROUGH),
        peer="colbert-ai",
        options={"nbits": 2},
    ),
    Variant(
        "colbert-4",
        "colbert",
        "colbert-ai 0.2.22, 4 bits",
        (PUBLISHED, THOROUGH),
        peer="colbert-ai",
        options={"nbits": 4},
    ),
    Variant(
        "fast-plaid",
        "fast_plaid_index",
        "fast-plaid 1.7, 4 bits",
        (Setting("n_ivf_probe 4, 1024", {"n_ivf_probe": 4, "n_full_scores": 1024}), DEFAULT),
        peer="fast-plaid",
        options={"nbits": 4},
    ),
)

OWN: Final = ("weft", "torch")
"""Names for `--peers` of what needs no environment of its own."""

PEERS: Final = tuple(sorted({v.peer for v in VARIANTS if v.peer}))


def chosen(names: list[str]) -> list[Variant]:
    """The variants of these peers, with `weft` for Weft's own and `torch` for the baseline."""
    return [v for v in VARIANTS if (v.peer or ("weft" if v.is_weft else v.name)) in names]
