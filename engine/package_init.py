"""Weft: late-interaction retrieval that takes new documents while it serves.

    >>> import weft
    >>> index = weft.Index.create("my-index")
    >>> index.add(["Warp threads are held taut.", "The weft is drawn in."], ids=["warp", "weft"])
    >>> index.search("What is drawn in?", k=1)[0].id
    'weft'

The names below load what they need when they are first used: `import weft` itself imports
neither torch nor transformers.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import errors as errors
    from .engine.check import check as check
    from .engine.check import repair as repair
    from .engine.documents import Document as Document
    from .engine.documents import Hit as Hit
    from .engine.documents import Passage as Passage
    from .engine.encoder import load_encoder as load_encoder
    from .engine.importing import import_colbert as import_colbert
    from .engine.index import Index as Index
    from .engine.info import info as info
    from .engine.search.hybrid import Hybrid as Hybrid

_HOMES = {
    "Document": "weft.engine.documents",
    "Hit": "weft.engine.documents",
    "Hybrid": "weft.engine.search.hybrid",
    "Index": "weft.engine.index",
    "Passage": "weft.engine.documents",
    "check": "weft.engine.check",
    "errors": "weft.engine.errors",
    "import_colbert": "weft.engine.importing",
    "info": "weft.engine.info",
    "load_encoder": "weft.engine.encoder",
    "repair": "weft.engine.check",
}

__all__ = [
    "Document",
    "Hit",
    "Hybrid",
    "Index",
    "Passage",
    "__version__",
    "check",
    "errors",
    "import_colbert",
    "info",
    "load_encoder",
    "repair",
]

__version__ = version("weft")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'weft' has no attribute {name!r}")
    home = import_module(_HOMES[name])
    value = home if name == "errors" else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
