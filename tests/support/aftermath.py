"""What an index shows after something went wrong: all that was acknowledged; and work goes on."""

from __future__ import annotations

from operations import Operation, State
from storage_tools import add, contents, document

from weft.engine.documents import Document
from weft.engine.errors import CommitUncertainError, WriterClosedError
from weft.engine.storage.collection import collect
from weft.engine.storage.compaction import compact
from weft.engine.storage.directory import Directory, SyncFailedError
from weft.engine.storage.layout import generations, tombstone_file
from weft.engine.storage.reader import Reader
from weft.engine.storage.sweep import sweep
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
        tidy: also maintain and collect, after which no file is left that is not needed.
    """
    later = document("later", len(state))
    expected = dict(state) | {"later": later}
    with Writer(directory) as writer:
        add(writer, [later], replace=True)
        if tidy:
            tidy_up(writer)
        with writer.snapshot() as snapshot:
            assert contents(snapshot) == expected
    if tidy:
        assert_tidy(directory)
    return expected


def tidy_up(writer: Writer) -> None:
    """Settle what dead writers have left, as if their leases were over."""
    sweep(writer, lease_seconds=0)
    compact(writer)
    collect(writer.directory, superseded_seconds=0, staged_seconds=0, pin_seconds=0)
    # What no manifest names goes once one was written after it was touched for the last time,
    # and the removal of an old manifest touches the temporary file that it once was.
    add(writer, [document("tidy")])
    writer.commit([], delete=["tidy"])
    collect(writer.directory, superseded_seconds=0, staged_seconds=0, pin_seconds=0)


def assert_tidy(directory: Directory) -> None:
    """Every file is one that the only generation needs."""
    assert len(generations(directory)) == 1
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        manifest = snapshot.manifest
    assert set(directory.list("segments")) == {ref.id for ref in manifest.segments}
    assert set(directory.list("codec")) == {ref.id for ref in manifest.codecs}
    assert {tombstone_file(ref.id) for ref in manifest.tombstones} == {
        f"tombstones/{name}" for name in directory.list("tombstones")
    }
    assert not [name for name in directory.list() if name.startswith("tmp.")]
    assert directory.list("inbox") == directory.list("pins") == []


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
    directory: Directory, writer: Writer, found: State, error: BaseException | None, *, tidy: bool
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
    return go_on(directory, found, tidy=tidy)


def _is_closed(writer: Writer) -> bool:
    try:
        add(writer, [NEXT])
    except WriterClosedError:
        return True
    return False
