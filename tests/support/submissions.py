"""Queued changes as a client would submit them: one file in the inbox, named by its sequence."""

from functools import partial

from weft.engine.storage.claims import Waiting, take_sequence
from weft.engine.storage.layout import submission_name, temporary_name
from weft.engine.storage.sequences import Applied
from weft.engine.storage.writer import Writer


def submit(writer: Writer, content: bytes) -> int:
    """Lay a change into the inbox.

    Returns:
        Its sequence, which no generation had applied when the file was there.
    """
    directory = writer.directory
    while True:
        temporary = temporary_name()
        with directory.create(temporary) as file:
            file.write_at(0, content)
        with writer.snapshot() as base:
            lowest = max(base.manifest.next_sequence, Waiting(directory).next_sequence)
        sequence = take_sequence(lowest, partial(directory.publish, temporary))
        directory.remove(temporary)
        with writer.snapshot() as base:
            if sequence not in Applied.of(base.manifest):
                return sequence
        directory.remove(submission_name(sequence))
