"""The client: acknowledgement, order, backpressure, status."""

import asyncio
import threading
import time

import pytest
from word_encoder import WordEncoder

import weft
from weft import Document
from weft.engine.errors import (
    DuplicateDocumentError,
    IndexNotFoundError,
    InvalidDocumentError,
    InvalidInputError,
    InvalidParameterError,
    QueueFullError,
    StorageError,
)
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.layout import INBOX
from weft.workers import Client, Watcher
from weft.workers.client import MAX_WAITING
from weft.workers.drain import Drain
from weft.workers.inbox import Inbox
from weft.workers.metrics import Observer
from weft.workers.selection import BatchLimits, Selection


def drain(context):
    return Drain(context, BatchLimits(), Observer()).run(60)


def files(index):
    return sorted(path.name for path in (index.path / INBOX).iterdir() if path.is_file())


def document(n):
    return Document(f"d{n}", f"text {n}")


def test_ids_follow_the_order(client):
    ids = [client.submit([document(n)]) for n in range(5)]
    assert ids == sorted(ids)
    assert ids[0] == f"{1:016d}"


def test_a_new_submission_comes_after_all_that_are_there(index, client):
    """Even where a lower number is free: those above may be of the same document."""
    client.submit([document(1)])
    client.submit([document(2)])
    (index.path / INBOX / f"{1:016d}").unlink()
    assert client.submit([document(3)]) == f"{3:016d}"


def test_no_sequence_is_given_twice(index):
    clients = [Client(index.path) for _ in range(4)]
    found = []

    def submit(client, number):
        for n in range(25):
            found.append(client.submit([document(100 * number + n)]))

    threads = [threading.Thread(target=submit, args=(c, n)) for n, c in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 100
    assert files(index) == sorted(found)


def test_a_sequence_that_was_given_up_is_not_used(index, client, context):
    """A sweep settles the number between the client's look and its link."""
    place, taken = Inbox.place, []

    def slow(self, data, lowest):
        if not taken:
            taken.append(index.add(["embedded"], ids=["e"]))
            return place(self, data, 1)
        return place(self, data, lowest)

    client._inbox.place = slow.__get__(client._inbox)
    id = client.submit([document(1)])
    assert int(id) > 1
    drain(context)
    assert index.get("d1").text == "text 1"


def test_bad_input_is_refused_before_anything_is_written(index, client):
    for bad, error in [
        ([], InvalidDocumentError),
        (["text"], InvalidDocumentError),
        ([Document("a", "")], InvalidDocumentError),
        ([Document("a", "x"), Document("a", "y")], DuplicateDocumentError),
        ([Document("a", "x", {"n": float("nan")})], InvalidDocumentError),
    ]:
        with pytest.raises(error):
            client.submit(bad)
    with pytest.raises(InvalidDocumentError):
        client.submit(delete="a")
    with pytest.raises(InvalidInputError):
        client.submit([Document(f"d{n}", "x" * 900_000) for n in range(80)])
    assert files(index) == []


def test_an_index_without_encoder_is_refused(tmp_path):
    weft.Index.create(tmp_path / "i", dim=8).close()
    with pytest.raises(InvalidInputError, match="no encoder"):
        Client(tmp_path / "i")
    with pytest.raises(IndexNotFoundError):
        Client(tmp_path / "nothing")


@pytest.mark.parametrize("wrong", [{"max_waiting": 0}, {"max_waiting": True}, {"full": "wait"}])
def test_parameters_out_of_range(index, wrong):
    with pytest.raises(InvalidParameterError):
        Client(index.path, **wrong)


def test_a_full_inbox_raises(index, context):
    with Client(index.path, max_waiting=5, full="raise") as client:
        for n in range(5):
            client.submit([document(n)])
        with pytest.raises(QueueFullError, match="5 documents wait"):
            client.submit([document(6)])
        drain(context)
        with pytest.raises(QueueFullError, match="does not fit"):
            client.submit([document(n) for n in range(6)])
        client.submit([document(6)])
        assert client.waiting() == 1


def test_a_full_inbox_blocks_until_there_is_room(index, context):
    with Client(index.path, max_waiting=3) as client:
        client.submit([document(n) for n in range(3)])
        with pytest.raises(QueueFullError):
            client.submit([document(4)], timeout=0.2)
        timer = threading.Timer(0.3, lambda: drain(context))
        timer.start()
        started = time.monotonic()
        client.submit([document(4)], timeout=30)
        assert time.monotonic() - started >= 0.2
        timer.join()


def test_the_bound_holds_for_several_clients(index):
    clients = [Client(index.path, max_waiting=40, full="raise") for _ in range(3)]
    with pytest.raises(QueueFullError):
        for n in range(200):
            clients[n % 3].submit([document(n)])
    # Each may be an eighth of the room ahead of the others.
    assert clients[0].waiting() <= 40 + 2 * 5
    assert MAX_WAITING >= 1000


def test_what_was_set_aside_takes_no_room(index):
    with Client(index.path, max_waiting=2, full="raise") as client:
        for n in range(2):
            client.submit([document(n)])
            (index.path / INBOX / f"{n + 1:016d}.dead").write_text('{"reasons":{}}')
        client.submit([document(3)])


def test_status_and_wait(index, client, context):
    id = client.submit([document(1)])
    assert client.wait(id, timeout=0.05).state == "queued"
    threading.Timer(0.2, lambda: drain(context)).start()
    status = client.wait(id, timeout=30)
    assert status.state == "committed"
    assert status.is_settled
    assert status.generation == 2
    for wrong in ("1", "x" * 16, 7, None, "٣" * 16):
        with pytest.raises(InvalidParameterError):
            client.status(wrong)
    with pytest.raises(InvalidParameterError, match="Nothing was submitted"):
        client.status(f"{77:016d}")


def test_async(index, client, context):
    async def play():
        id = await client.asubmit([document(1)])
        assert (await client.astatus(id)).state == "queued"
        asyncio.get_running_loop().call_later(0.1, lambda: drain(context))
        return await client.await_(id, timeout=30)

    assert asyncio.run(play()).state == "committed"


def test_a_refusing_disk_acknowledges_nothing(index, client, monkeypatch):
    def refuse(*_, **__):
        raise StorageError(28, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(LocalDirectory, "publish", refuse)
        with pytest.raises(StorageError):
            client.submit([document(1)])
    assert files(index) == []
    assert not list(index.path.glob("*tmp*"))


def test_a_broker_that_is_not_there_holds_up_nothing(index, context):
    with Client(index.path, "redis://127.0.0.1:1/0") as client:
        started = time.monotonic()
        ids = [client.submit([document(n)]) for n in range(20)]
        assert time.monotonic() - started < 5
    drain(context)
    assert client.status(ids[-1]).state == "committed"


def test_a_network_file_system_that_answers_twice(index, client, monkeypatch):
    """The link was made, its answer lost, and the second request finds the name taken."""
    publish = LocalDirectory.publish

    def twice(self, source, name):
        publish(self, source, name)
        raise FileExistsError(name)

    monkeypatch.setattr(LocalDirectory, "publish", twice)
    assert client.submit([document(1)]) == f"{1:016d}"
    assert files(index) == [f"{1:016d}"]


def test_the_clients_word_encoder_is_never_loaded(index, monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("a client encodes nothing")

    monkeypatch.setattr(WordEncoder, "encode_passages", forbidden)
    with Client(index) as client:
        client.submit([document(1)])


def test_deletions_may_come_from_anywhere(index, client, context):
    index.add(["text", "text"], ids=["a", "b"])
    client.submit(delete=(id for id in ["a", "b"]))
    drain(context)
    assert index.count() == 0


def test_a_worker_that_is_quicker_than_the_clients_look(index, client, context):
    """It is not applied again: somebody may have deleted what they have seen since."""
    place = Inbox.place

    def seen_and_deleted(self, data, lowest):
        sequence = place(self, data, lowest)
        drain(context)
        index.delete(["d1"])
        return sequence

    client._inbox.place = seen_and_deleted.__get__(client._inbox)
    assert client.submit([document(1)]) == f"{1:016d}"
    drain(context)
    assert index.get("d1") is None


def test_what_is_larger_than_the_inbox_is_refused_at_once(index):
    with Client(index.path, max_waiting=3) as client:
        client.submit([document(1)])
        with pytest.raises(QueueFullError, match="does not fit"):
            client.submit([document(n) for n in range(4)])


def test_a_status_on_a_full_disk(index, client, context, monkeypatch):
    id = client.submit([document(1)])
    with Selection(context, BatchLimits()).take():
        monkeypatch.setattr(LocalDirectory, "clock_seconds", _refuse)
        assert client.status(id).state == "encoding"
        assert Watcher(index.path).look().n_encoding == 1


def _refuse(*_):
    raise StorageError(28, "no space left on device")
