"""What adapters are given: an index, open or by its folder, and what they must know or refuse."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..engine.encoder.base import Encoder
from ..engine.errors import (
    IndexExistsError,
    IndexNotFoundError,
    InvalidDocumentError,
    InvalidParameterError,
)
from ..engine.index import Index
from ..engine.shown import shown


def open_index(
    given: Index | str | Path, encoder: str | Path | Encoder | None, *, create: bool
) -> Index:
    """The index that an adapter was given.

    Args:
        given: an open index, or its folder.
        encoder: for a folder, as of `Index.open` and `Index.create`.
        create: make an empty index where the folder holds none.

    Raises:
        InvalidParameterError: it is neither, or an encoder was given beside an open index.
        IndexNotFoundError: there is none and none is to be made.
        CorruptIndexError, EncoderMismatchError: as `Index.open`.
    """
    if isinstance(given, Index):
        if encoder is not None:
            raise InvalidParameterError(
                "The index is open and has its encoder: leave `encoder` out, or pass the folder."
            )
        return given
    if not isinstance(given, str | os.PathLike):
        raise InvalidParameterError(
            f"index is {shown(given)}, a {type(given).__name__}: pass a weft.Index or its folder."
        )
    try:
        return Index.open(given, encoder=encoder)
    except IndexNotFoundError:
        if not create:
            raise
    try:
        return Index.create(given, encoder=encoder)
    except IndexExistsError:  # another process was quicker, or there are other files
        return Index.open(given, encoder=encoder)


def refuse_unknown(given: Iterable[str], known: Iterable[str], owner: str) -> None:
    """Raise for arguments by name that a call does not have.

    Raises:
        InvalidParameterError: one of `given` is not `known`.
    """
    names = sorted(known)
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise InvalidParameterError(
            f"{owner} knows no argument {', '.join(unknown)}: the known ones are "
            f"{', '.join(names) or 'none'}."
        )


def refuse_tuples(value: object, where: str, depth: int = 0) -> None:
    """Raise for tuples, of which JSON makes lists; what else it cannot hold the engine refuses.

    Args:
        value: of metadata.
        where: it stands, for the message.
        depth: at which it stands.

    Raises:
        InvalidDocumentError: there is one.
    """
    if isinstance(value, tuple):
        raise InvalidDocumentError(
            f"{where} is a tuple, which JSON would give back as a list: use list(...)."
        )
    if depth > 16:  # the engine refuses it for its depth, or its recursion
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            refuse_tuples(item, f"{where}[{key!r}]", depth + 1)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            refuse_tuples(item, f"{where}[{number}]", depth + 1)
