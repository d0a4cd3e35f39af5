"""Where the files of an index stand in its directory."""

from __future__ import annotations

import re
import uuid
from typing import Final

from .directory import TEMPORARY, Directory

SEGMENTS: Final = "segments"
CODECS: Final = "codec"
TOMBSTONES: Final = "tombstones"
PINS: Final = "pins"
INBOX: Final = "inbox"

FOLDERS: Final = (SEGMENTS, CODECS, TOMBSTONES, PINS, INBOX)
"""Folders of an index, made with it."""

ARRAYS_FILE: Final = "arrays.safetensors"
PASSAGES_FILE: Final = "passages.sqlite"
CHECKSUMS_FILE: Final = "checksums.safetensors"

CONDEMNED: Final = "condemned"
"""First letters of marks on what no manifest names and is about to be removed."""

IDENTIFIER: Final = re.compile(r"[0-9a-f]{32}")
"""Ids of segments, codecs, tombstone files, commits and indexes."""

DAMAGED: Final = "damaged."
"""First letters of the second name of a damaged manifest that a repair has dealt with."""

_MANIFEST: Final = re.compile(r"manifest\.([0-9]{16})\.json")
_DAMAGED: Final = re.compile(re.escape(DAMAGED) + r"([0-9]{16})")
_PIN: Final = re.compile(r"([0-9]{16})\.[0-9a-f]{32}")
_SENTENCE: Final = re.compile(CONDEMNED + r"\.([0-9]{16})\.([0-9a-f]{32})")
_SUBMISSION: Final = re.compile(r"([0-9]{16})(\..+)?")


def new_identifier() -> str:
    """A random id, 32 hex characters."""
    return uuid.uuid4().hex


def manifest_name(generation: int) -> str:
    """`manifest.<generation, 16 digits>.json`: sorted by name is sorted by generation."""
    return f"manifest.{generation:016d}.json"


def damaged_name(generation: int) -> str:
    """The second name of a damaged manifest."""
    return f"{DAMAGED}{generation:016d}"


def temporary_name() -> str:
    """A name in the root for a file that is about to be published."""
    return f"{TEMPORARY}{new_identifier()}"


def pin_name(generation: int) -> str:
    """A new name for a pin on a generation."""
    return f"{PINS}/{generation:016d}.{new_identifier()}"


def pinned_generation(name: str) -> int | None:
    """The generation of a pin's name inside `pins/`; None for another file."""
    match = _PIN.fullmatch(name)
    return int(match[1]) if match else None


def is_mark(name: str) -> bool:
    """Whether a name, with or without its folder, is that of a mark; see `condemning`."""
    return name.rpartition("/")[2].startswith(CONDEMNED)


def sentence_of(name: str) -> tuple[int, str] | None:
    """Generation and id in the name of a sentence, without its folder; None for another file."""
    match = _SENTENCE.fullmatch(name)
    return (int(match[1]), match[2]) if match else None


def submission_name(sequence: int) -> str:
    """The name in the inbox of the change with that sequence, embedded or queued."""
    return f"{INBOX}/{sequence:016d}"


def submission_sequence(name: str) -> tuple[int, bool] | None:
    """The sequence that a name inside `inbox/` belongs to, and whether it is the change itself.

    Files that go with a change, such as the counts of its attempts, have its name and a suffix.
    None for another file.
    """
    match = _SUBMISSION.fullmatch(name)
    return (int(match[1]), match[2] is None) if match else None


def segment_file(segment_id: str, file: str) -> str:
    """The name of a segment's file."""
    return f"{SEGMENTS}/{segment_id}/{file}"


def codec_file(codec_id: str) -> str:
    """The name of a codec's file."""
    return f"{CODECS}/{codec_id}/codec.safetensors"


def tombstone_file(tombstone_id: str) -> str:
    """The name of a tombstone file."""
    return f"{TOMBSTONES}/{tombstone_id}.safetensors"


def generations(directory: Directory) -> list[int]:
    """The generations whose manifests are in the directory, ascending."""
    matches = (_MANIFEST.fullmatch(name) for name in directory.list())
    return sorted(int(match[1]) for match in matches if match)


def damaged_generations(directory: Directory) -> list[int]:
    """The generations whose manifests a repair has found damaged, ascending."""
    matches = (_DAMAGED.fullmatch(name) for name in directory.list())
    return sorted(int(match[1]) for match in matches if match)
