"""Passages that a search has found are fetched with their documents, and neither is believed."""

import numpy as np
import pytest
from forgery import forge_sqlite
from storage_tools import add, documents, new_index

from weft.engine.documents import Document
from weft.engine.errors import CorruptIndexError, SnapshotClosedError
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer


@pytest.fixture
def directory(tmp_path):
    directory = new_index(tmp_path / "index")
    with Writer(directory) as writer:
        add(writer, documents(60))
    return directory


@pytest.mark.parametrize("pids", [[7, 0, 3], [5], [2, 1, 2], list(range(40))])
def test_they_are_what_documents_and_spans_say(directory, pids):
    """One passage per document, several of one document, and a passage asked for twice."""
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        view = snapshot.segments[0]
        docnos = view.passage_document[pids].tolist()
        (spans, ordinals), store = view.passages.spans(pids), view.passages
        found = store.found(pids, docnos)
        whole = [(one.id, one.text, one.metadata) for one in store.documents(docnos)]
        assert [one[:3] for one in found] == whole
        assert len({id(one[2]) for one in found}) == len(found), "a dict is shared by hits"
        assert np.array_equal([one[3:5] for one in found], spans)
        assert [one[5] for one in found] == ordinals.tolist()
        with pytest.raises(IndexError):
            store.found([view.n_passages], [0])
    with pytest.raises(SnapshotClosedError):
        store.found(pids, docnos)


FORGED = {
    "another document": "UPDATE passages SET docno = 1 WHERE docno = 3",
    "an unknown document": "UPDATE passages SET docno = 999 WHERE docno = 3",
    "document gone": "DELETE FROM documents WHERE docno = 3",
    "passage gone": "DELETE FROM passages WHERE docno = 3",
    "no text": "UPDATE documents SET text = x'ff' WHERE docno = 3",
    "no id": "UPDATE documents SET id = x'00' WHERE docno = 3",
    "long language": "UPDATE documents SET language = printf('%2000d', 1) WHERE docno = 3",
    "no metadata": "UPDATE documents SET metadata = x'00' WHERE docno = 3",
    "no span": "UPDATE passages SET start = 'x' WHERE docno = 3",
    "turned span": "UPDATE passages SET start = 7, end = 3 WHERE docno = 3",
}


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("times", [1, 2])
def test_rows_that_somebody_else_wrote(directory, forged, times):
    """Whether the document is asked for once, or for several passages."""
    forge_sqlite(directory.path, FORGED[forged])
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        view = snapshot.segments[0]
        pids = np.flatnonzero(view.passage_document == 3)[:1].tolist() * times
        with pytest.raises(CorruptIndexError):
            view.passages.found(pids, [3] * times)
        assert isinstance(view.passages.document(5), Document)
