"""Who is to blame: a document, the encoder, the index, or another worker that was quicker."""

import errno

import pytest
from draining import Failing, drain, inbox, texts
from word_encoder import WordEncoder

from weft import Document
from weft.engine.errors import (
    CommitConflictError,
    CorruptIndexError,
    DeviceFailedError,
    DimensionMismatchError,
    StorageError,
)
from weft.engine.storage.layout import INBOX
from weft.engine.storage.writer import Writer
from weft.workers import dead_letters, drop, retry, selection
from weft.workers.context import IngestContext
from weft.workers.drain import EncoderBrokenError
from weft.workers.selection import MAX_KILLERS, MAX_TRIES


def document(n, text="sound text"):
    return Document(f"d{n}", text)


def died_at(index, sequence, positions):
    """What workers leave behind that died three times, the last time at these documents."""
    for attempt in range(1, MAX_TRIES + len(positions)):
        (index.path / INBOX / f"{sequence:016d}.try{attempt}").write_text("worker.dead")
    for position in positions:
        (index.path / INBOX / f"{sequence:016d}.at{position}").touch()


def test_a_document_that_kills_takes_nothing_of_its_submission_along(index, client, context):
    client.submit([Document("old", "x")])
    bad = client.submit([document(n) for n in range(20)], delete=["old"])
    died_at(index, 2, [7])
    assert drain(context).n_dead == 1
    assert set(texts(index)) == {f"d{n}" for n in range(20) if n != 7}
    status = client.status(bad)
    assert list(status.reasons) == ["d7"]
    assert "while it was encoding it" in status.reasons["d7"]
    retry(index.path, [2])
    drain(context)
    assert len(texts(index)) == 20
    assert inbox(index) == []


def test_two_documents_that_kill(index, client, context):
    client.submit([document(n) for n in range(5)])
    died_at(index, 1, [1, 3])
    drain(context)
    assert set(dead_letters(index.path)[0].reasons) == {"d1", "d3"}
    assert set(texts(index)) == {"d0", "d2", "d4"}


def test_a_submission_full_of_killers_is_set_aside_whole(index, client, context):
    client.submit([document(n) for n in range(MAX_KILLERS + 5)])
    died_at(index, 1, range(MAX_KILLERS + 1))
    drain(context)
    assert list(dead_letters(index.path)[0].reasons) == [""]
    drop(index.path, [1])
    assert inbox(index) == []


def test_a_broken_encoder_blames_nobody(index, client):
    class Broken(WordEncoder):
        def encode_passages(self, texts, *, languages=None, progress=False):
            raise RuntimeError("CUDA error: device-side assert triggered")

    for n in range(30):
        client.submit([document(n)])
    before = inbox(index)
    with (
        IngestContext(index.path, encoder=Broken()) as context,
        pytest.raises(EncoderBrokenError, match="device-side assert"),
    ):
        drain(context)
    assert inbox(index) == before
    with IngestContext(index.path, encoder=WordEncoder()) as context:
        assert drain(context).n_changes == 30


@pytest.mark.parametrize(
    "error",
    [
        CorruptIndexError("manifest.0000000000000001.json is not what was written"),
        DeviceFailedError("cuda:0 failed: an illegal memory access"),
    ],
)
def test_a_broken_index_or_gpu_blames_nobody(index, client, context, monkeypatch, error):
    client.submit([document(1)])
    before = inbox(index)

    def broken(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Writer, "stage", broken)
        with pytest.raises(type(error)):
            drain(context)
    assert inbox(index) == before
    assert drain(context).n_changes == 1


def test_an_encoder_of_another_dim_blames_nobody(index, client, monkeypatch):
    client.submit([document(n) for n in range(3)])
    before = inbox(index)
    with IngestContext(index.path, encoder=WordEncoder()) as context:
        monkeypatch.setattr(context.encoder, "dim", 16)
        with pytest.raises(DimensionMismatchError):
            drain(context)
    assert inbox(index) == before


def test_a_drop_that_races_with_a_batch_loses_nothing_older(index, client):
    """The younger change of a batch is dropped by an operator while the batch is encoded."""
    client.submit([Document("a", "older")])
    client.submit([Document("a", "younger")])

    class Slow(WordEncoder):
        def encode_passages(self, texts, *, languages=None, progress=False):
            if not dead_letters(index.path) and "younger" in texts:
                (index.path / INBOX / f"{2:016d}.dead").write_text('{"reasons":{}}')
                drop(index.path, [2])
            return super().encode_passages(texts)

    with IngestContext(index.path, encoder=Slow()) as context:
        with pytest.raises(CommitConflictError):
            drain(context)
        drain(context)
    assert texts(index) == {"a": "older"}


def test_poison_among_many_is_found_without_a_segment_for_each(index, client):
    client.submit([document(n, "poison" if n in (5, 60) else "sound") for n in range(100)])
    with IngestContext(index.path, encoder=Failing()) as context:
        assert drain(context).n_dead == 1
    assert len(texts(index)) == 98
    with index.snapshot() as view:
        assert len(view.manifest.segments) == 1


class Unreadable:
    """Has the disk fail on one file, or on all of them."""

    def __init__(self, context, monkeypatch):
        self.suffix, self._read = "", context.directory.read
        monkeypatch.setattr(context.directory, "read", self.read)

    def read(self, name, *args):
        if self.suffix is None or (self.suffix and name.endswith(self.suffix)):
            raise StorageError(errno.EIO, f"{name}: Input/output error")
        return self._read(name, *args)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(selection, "UNREADABLE_SECONDS", 0.0)


def test_a_file_that_cannot_be_read_is_set_aside(index, client, context, monkeypatch):
    client.submit([document(0)])
    client.submit([document(1)])
    disk = Unreadable(context, monkeypatch)
    disk.suffix = f"{1:016d}"
    # For a while it may be the disk's fault; the others do not wait for it.
    assert drain(context).n_dead == 0
    assert set(texts(index)) == {"d1"}
    monkeypatch.setattr(selection, "UNREADABLE_SECONDS", 0.0)
    assert drain(context).n_dead == 1
    (letter,) = dead_letters(index.path)
    assert letter.sequence == 1 and "Input/output error" in letter.reasons[""]
    # Once the disk gives it, it can be retried like every other.
    disk.suffix = ""
    retry(index.path, [1])
    drain(context)
    assert set(texts(index)) == {"d0", "d1"}
    assert inbox(index) == []


def test_a_disk_that_reads_nothing_blames_nobody(index, client, context, monkeypatch, impatient):
    client.submit([document(0)])
    disk = Unreadable(context, monkeypatch)
    context.applied()
    disk.suffix = None
    for _ in range(4):
        assert drain(context).n_dead == 0
    disk.suffix = ""
    drain(context)
    assert set(texts(index)) == {"d0"}


def test_an_unreadable_file_keeps_nobody_from_submitting(index, client, context, monkeypatch):
    client.submit([document(0)])
    monkeypatch.setattr(client, "_inbox", context.inbox)
    disk = Unreadable(context, monkeypatch)
    disk.suffix = f"{1:016d}"
    assert client.waiting() == 0
    client.submit([document(1)])
    assert client.waiting() == 1
