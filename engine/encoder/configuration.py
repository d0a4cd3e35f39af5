"""Reads a checkpoint's JSON files; every complaint names the file and the key."""

from __future__ import annotations

import json
import reprlib
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import CheckpointError

_LARGEST_BYTES: Final = 64 * 1024 * 1024


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        CheckpointError: the file is missing, too large, or no JSON.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise CheckpointError(f"{path} is no regular file; a checkpoint needs it")
        if found.st_size > _LARGEST_BYTES:
            raise CheckpointError(f"{path} is too large for a configuration file")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror}); a checkpoint needs it"
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is no valid JSON ({error}); fetch it again") from error


def read_object(path: Path) -> dict[str, Any]:
    """The content of a JSON file that must hold one object."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise CheckpointError(f"{path} must hold a JSON object, not {type(found).__name__}")
    return found


@dataclass(frozen=True, slots=True)
class Settings:
    """Typed look-ups in one configuration file; a missing key or null gives the default."""

    path: Path
    values: dict[str, Any]

    def number(self, key: str, lowest: int, highest: int, default: int | None = None) -> int:
        """An integer within a range."""
        found = self.values.get(key)
        if found is None:
            found = default
        if isinstance(found, bool) or not isinstance(found, int) or not lowest <= found <= highest:
            raise self._wrong(key, found, f"an integer from {lowest} to {highest}")
        return found

    def fraction(self, key: str, default: float) -> float:
        """A number from 0 to 1."""
        found = self.values.get(key)
        if found is None:
            return default
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 1:
            raise self._wrong(key, found, "a number from 0 to 1")
        return float(found)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        found = self.values.get(key)
        if found is None:
            return default
        if not isinstance(found, bool):
            raise self._wrong(key, found, "true or false")
        return found

    def text(self, key: str, default: str) -> str:
        """A string."""
        found = self.values.get(key)
        if found is None:
            return default
        if not isinstance(found, str):
            raise self._wrong(key, found, "a string")
        return found

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        """A list of strings."""
        found = self.values.get(key)
        if found is None:
            return default
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise self._wrong(key, found, "a list of strings")
        return tuple(found)

    def _wrong(self, key: str, found: object, wanted: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {key!r} must be {wanted}, not {reprlib.repr(found)}")
