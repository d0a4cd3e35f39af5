"""Whether a submission was applied with its content, or its number by somebody else before."""

from __future__ import annotations

from ..engine.storage.directory import Directory
from ..engine.storage.generation import read_manifest
from ..engine.storage.layout import manifest_name, submission_name
from ..engine.storage.manifest import Manifest
from ..engine.storage.sequences import Applied


def applied_with_content(directory: Directory, before: Manifest, sequence: int) -> bool:
    """Whether a submission whose sequence is found applied right after it was placed is done.

    Its number may have been another change's, which was applied and gone before the submission
    took the name. Both are told apart by times of the file server's clock; where they are the
    same, the submission, which was not acknowledged yet, had better be applied twice than never.

    Args:
        directory: of the index.
        before: a generation that had not applied it, looked at before the submission was placed.
        sequence: applied since then.

    Raises:
        CorruptIndexError, StorageError: a manifest cannot be read.
    """
    try:
        placed_seconds = directory.status(submission_name(sequence)).changed_seconds
    except FileNotFoundError:
        # Whoever applies a change removes its file.
        return True
    generation = _applying(directory, before, sequence)
    if generation is None:
        return False
    return directory.status(manifest_name(generation)).changed_seconds > placed_seconds


def _applying(directory: Directory, before: Manifest, sequence: int) -> int | None:
    """The first generation after another that has applied a sequence; None if it is gone."""
    generation = before.generation
    while True:
        generation += 1
        try:
            manifest = read_manifest(directory, generation)
        except FileNotFoundError:
            return None
        if sequence in Applied.of(manifest):
            return generation
