"""Who may do what: API keys, kept as digests and compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ...engine.errors import InvalidParameterError
from .names import check_name

LEAST_CHARACTERS: Final = 16
"""Of a key: shorter ones could be guessed."""

MOST_CHARACTERS: Final = 512

FIELDS: Final = frozenset({"name", "key", "sha256", "collections", "write"})

MAKE_ONE: Final = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'


@dataclass(frozen=True, slots=True)
class Key:
    """An API key and what it opens.

    Args:
        name: for logs.
        sha256: hex digest of the key itself, which is not kept.
        collections: names of the collections it opens; None opens all, and lets its bearer make
            and remove collections.
        write: whether it changes anything, or only reads.
    """

    name: str
    sha256: str
    collections: frozenset[str] | None = None
    write: bool = True

    @classmethod
    def of(cls, key: str, name: str = "key", **rights: Any) -> Key:
        """The key with these characters.

        Raises:
            InvalidParameterError: it is too short, or cannot stand in a header.
        """
        if not isinstance(key, str) or not LEAST_CHARACTERS <= len(key) <= MOST_CHARACTERS:
            raise InvalidParameterError(
                f"The API key {name!r} has no {LEAST_CHARACTERS} characters at least: make one "
                f"with {MAKE_ONE}."
            )
        if not key.isascii() or not key.isprintable() or " " in key:
            raise InvalidParameterError(
                f"The API key {name!r} holds characters that cannot stand in a header: make one "
                f"with {MAKE_ONE}."
            )
        return cls(name, digest(key.encode()).hex(), **rights)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Key:
        """What `dataclasses.asdict` gave, by way of JSON."""
        collections = fields["collections"]
        names = None if collections is None else frozenset(collections)
        return cls(fields["name"], fields["sha256"], names, fields["write"])

    def opens(self, collection: str, *, write: bool) -> bool:
        """Whether its bearer may read, or change, what is in a collection."""
        allowed = self.collections is None or collection in self.collections
        return allowed and (self.write or not write)


EVERYBODY: Final = Key("", "")
"""Stands for whoever asks a service that has no keys."""


def digest(key: bytes) -> bytes:
    """Digests are compared rather than keys: they are of one length."""
    return hashlib.sha256(key).digest()


class KeyRing:
    """All keys of a service.

    Args:
        keys: with none, everybody may do everything.
    """

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self._keys = [(key, bytes.fromhex(key.sha256)) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._keys)

    def bearer(self, authorization: bytes | None) -> Key | None:
        """The key in a header `Authorization: Bearer …`; None where it is missing or unknown.

        Every key is compared, each in constant time, whichever fits.
        """
        if not self._keys:
            return EVERYBODY
        scheme, _, given = (authorization or b"").partition(b" ")
        if scheme.lower() != b"bearer" or len(given) > MOST_CHARACTERS:
            return None
        offered = digest(given.strip())
        found = None
        for key, known in self._keys:
            if hmac.compare_digest(offered, known):
                found = key
        return found


def read_keys(path: Path) -> tuple[Key, ...]:
    """Read keys from a TOML file.

        [[key]]
        name = "search-page"
        key = "…"                   # or sha256 = "…", its digest
        collections = ["manuals"]   # left out: all, and making and removing collections
        write = false               # left out: true

    Raises:
        InvalidParameterError: the file cannot be read, or an entry cannot be used.
    """
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidParameterError(f"Keys cannot be read from {path}: {error}.") from error
    entries = given.get("key")
    if set(given) != {"key"} or not isinstance(entries, list) or not entries:
        raise InvalidParameterError(f"{path} holds no [[key]] tables, or other things beside them.")
    return tuple(_key(entry, number, path) for number, entry in enumerate(entries, 1))


def _key(entry: object, number: int, path: Path) -> Key:
    where = f"{path}, key {number}"
    if not isinstance(entry, dict) or set(entry) - FIELDS:
        raise InvalidParameterError(f"{where}: its fields are {', '.join(sorted(FIELDS))}.")
    name, write = entry.get("name", f"key-{number}"), entry.get("write", True)
    if not isinstance(name, str) or not isinstance(write, bool):
        raise InvalidParameterError(f"{where}: name is a string, write true or false.")
    collections = _names(entry.get("collections"), where)
    if ("key" in entry) == ("sha256" in entry):
        raise InvalidParameterError(f"{where} needs either key or sha256.")
    if "key" in entry:
        return Key.of(entry["key"], name, collections=collections, write=write)
    sha256 = entry["sha256"]
    if not isinstance(sha256, str) or not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise InvalidParameterError(f"{where}: sha256 is no digest of 64 hex characters.")
    return Key(name, sha256.lower(), collections, write)


def _names(given: object, where: str) -> frozenset[str] | None:
    if given is None:
        return None
    if not isinstance(given, list) or not given:
        raise InvalidParameterError(f"{where}: collections is a list of names; leave out for all.")
    return frozenset(check_name(name) for name in given)
