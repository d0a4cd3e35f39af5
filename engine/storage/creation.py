"""Making a new, empty index."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import limits
from ..errors import IndexExistsError, InvalidParameterError, StorageError
from .commit import Outcome, publish
from .directory import TEMPORARY, Directory
from .layout import FOLDERS, generations, new_identifier
from .manifest import IndexSettings, Manifest
from .reader import as_directory


def create_index(
    directory: Directory | str | Path,
    *,
    dim: int,
    encoder: Mapping[str, Any] | None,
    settings: IndexSettings | None = None,
) -> Manifest:
    """Make an empty index in a new or empty folder.

    Args:
        directory: the folder or its path.
        dim: components per embedding, 1 to `MAX_DIM`.
        encoder: identity of the encoder as JSON, None for an index of ready-made embeddings.
        settings: defaults if left out.

    Returns:
        The first generation.

    Raises:
        InvalidParameterError: dim is out of range.
        IndexExistsError: the folder holds an index, or files that are not one.
        StorageError: the disk refused.
    """
    if type(dim) is not int or not 1 <= dim <= limits.MAX_DIM:
        raise InvalidParameterError(
            f"dim is {dim!r}: use a whole number from 1 to {limits.MAX_DIM}."
        )
    place = as_directory(directory)
    _require_empty(place)
    _make_folders(place)
    manifest = Manifest(
        generation=1,
        commit_uuid=new_identifier(),
        index_uuid=new_identifier(),
        dim=dim,
        encoder=encoder,
        settings=IndexSettings() if settings is None else settings,
    )
    if not publish(place, None, manifest, Outcome()):
        raise _exists(place)
    return manifest


def _require_empty(directory: Directory) -> None:
    if generations(directory):
        raise _exists(directory)
    foreign = [
        name for name in directory.list() if name not in FOLDERS and not name.startswith(TEMPORARY)
    ]
    if foreign:
        raise IndexExistsError(
            f"{directory} is not empty (it holds {foreign[0]!r}) and is no Weft index: choose "
            "another folder."
        )


def _make_folders(directory: Directory) -> None:
    try:
        for folder in FOLDERS:
            directory.sync_folder(folder)
    except StorageError as error:
        if error.errno != errno.ENOTDIR:
            raise
        raise IndexExistsError(
            f"{directory} cannot become a folder, since a file is in the way: choose another path."
        ) from error


def _exists(directory: Directory) -> IndexExistsError:
    return IndexExistsError(
        f"{directory} holds an index already: open it, or choose another folder."
    )
