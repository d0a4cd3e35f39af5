"""Names of collections and files: each is the name of a folder, and no way out of the root."""

from __future__ import annotations

import re
import secrets
from typing import Final

from ...engine.errors import InvalidParameterError
from ...engine.shown import shown

PATTERN: Final = r"^[a-z0-9][a-z0-9_-]{0,62}$"
"""Of a collection's name, for the OpenAPI document."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


def is_name(name: object) -> bool:
    """Whether a collection may have this name."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def check_name(name: object) -> str:
    """Return a usable name of a collection.

    Raises:
        InvalidParameterError: it is none.
    """
    if isinstance(name, str) and is_name(name):
        return name
    raise InvalidParameterError(
        f"{shown(name)} is no name of a collection: use 1 to 63 characters of a-z, 0-9, _ and -, "
        "the first a letter or a digit."
    )


def new_id(prefix: str) -> str:
    """An id that is a usable name too, such as `vs_5f…` or `file-5f…`."""
    return f"{prefix}{secrets.token_hex(12)}"


def name_for(folder: str) -> str:
    """A usable name like that of a folder."""
    kept = re.sub(r"[^a-z0-9_-]+", "-", folder.lower()).strip("-_")[:63]
    return kept if is_name(kept) else "index"
