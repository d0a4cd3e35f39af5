"""Indexes for the adapters' tests: empty, flat or with a codec that compresses all that comes."""

import shutil
from contextlib import contextmanager
from pydoc_data.topics import topics
from threading import Event, Thread
from unittest.mock import patch

from draining import drain

from weft import Index
from weft.engine.storage import holding
from weft.workers.context import IngestContext

KINDS = ("flat", "coded")


def make_templates(folder, encoder):
    """An empty index of each kind; the codec of the coded one was trained on other documents."""
    Index.create(folder / "flat", encoder=encoder).close()
    with Index.create(folder / "coded", encoder=encoder, flat_below_tokens=0) as index:
        texts = [" ".join(text.split())[:300] for text in topics.values()][:60]
        index.add(texts)
        index.compact()
        index.delete(list(index.ids()))
        index.compact()
    return folder


@contextmanager
def empty_index(templates, kind, folder, encoder):
    """A copy of a template; at the end it is checked that its kind was what it should be."""
    shutil.copytree(templates / kind, folder)
    # A document or two of a test are badly served by any codec, and would be held uncompressed.
    with patch.object(holding, "HELD_TOKENS", 0), Index.open(folder, encoder=encoder) as index:
        assert index.count() == 0
        yield index
        stats = index.stats()
        assert (stats.codec is not None) == (kind == "coded")
        assert stats.n_flat_segments == (stats.n_segments if kind == "flat" else 0)


@contextmanager
def draining(path, encoder):
    """A thread that does what a worker does, until the end of the block."""
    stop = Event()

    def work():
        with IngestContext(path, encoder=encoder) as context:
            while not stop.wait(0.01):
                drain(context)

    thread = Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
