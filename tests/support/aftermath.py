"""What an index shows after something went wrong: all that was acknowledged; and work goes on."""

from __future__ import annotations

from operations import Operation, State
from storage_tools import add, contents, document

from weft.engine.documents import Document
from weft.engine.errors import CommitUncertainError, WriterClosedError
from weft.engine.storage.collection import collect
from weft.engine.storage.compaction import compact
from weft.engine.storage.directory import Directory, SyncFailedError
from weft.engine.storage.layout import generations
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer

NEXT = document("next", 99)


def held(directory: Directory) -> dict[str, Document]:
    """Every document of the newest generation, all of it checked against the oracle."""
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        return contents(snapshot)


def go_on(directory: Directory, state: State, *, tidy: bool) -> dict[str, Document]:
    """A new writer works on what was found, and what it says is there.

    Args:
        directory: of the index.
        state: what the index holds.
        tidy: also compact and collect, after which no file is left that is not needed.
    """
    later = document("later", len(state))
    expected = dict(state) | {"later": later}
    with Writer(directory) as writer:
        add(writer, [later], replace=True)
        if tidy:
            compact(writer)
            # Twice, since a manifest's removal is a change of the temporary file it was once.
            for _ in range(2):
                collect(directory, superseded_seconds=0, staged_seconds=0, pin_seconds=0)
        with writer.snapshot() as snapshot:
            assert contents(snapshot) == expected
            named = {ref.id for ref in snapshot.manifest.segments}
    if tidy:
        assert len(generations(directory)) == 1
        assert set(directory.list("segments")) == named
        assert not [name for name in directory.list() if name.startswith("tmp.")]
    return expected


def held_after(
    directory: Directory, before: State, operation: Operation, error: BaseException | None
) -> dict[str, Document]:
    """What the index holds, which must agree with what the operation has said."""
    found = held(directory)
    if error is None:
        assert found == operation.after
    elif isinstance(error, CommitUncertainError | KeyboardInterrupt):
        assert found in (before, operation.after)
    else:
        assert found == before
    return found


def go_on_after(
    directory: Directory, writer: Writer, found: State, error: BaseException | None
) -> dict[str, Document]:
    """The writer goes on, unless it has told of a failed fsync; then a new one does."""
    cause = error.__cause__ if isinstance(error, CommitUncertainError) else error
    if isinstance(cause, SyncFailedError):
        assert _is_closed(writer)
    else:
        add(writer, [NEXT])
        found = dict(found) | {NEXT.id: NEXT}
        assert held(directory) == found
    writer.close()
    return go_on(directory, found, tidy=True)


def _is_closed(writer: Writer) -> bool:
    try:
        add(writer, [NEXT])
    except WriterClosedError:
        return True
    return False
