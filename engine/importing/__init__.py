"""Takes over indexes of other late-interaction packages without encoding again."""

from __future__ import annotations

from .convert import ImportReport, import_colbert

__all__ = ["ImportReport", "import_colbert"]
