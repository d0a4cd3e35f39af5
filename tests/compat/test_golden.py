"""Indexes that earlier versions wrote open, check, answer and go on, format by format."""

import base64
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from word_encoder import WordEncoder

import weft
from weft import Index

GOLDEN = sorted(Path(__file__).parent.glob("format-*"))


def rows(text, dim):
    return np.frombuffer(base64.b64decode(text), dtype="<f4").reshape(-1, dim)


@pytest.fixture(params=GOLDEN, ids=lambda path: path.name)
def golden(request, tmp_path):
    """A copy of an index, and what it holds."""
    shutil.copytree(request.param / "index", tmp_path / "index")
    expected = json.loads((request.param / "expected.json").read_text(encoding="utf-8"))
    return tmp_path / "index", expected


def test_there_is_one_of_each_format():
    assert [path.name for path in GOLDEN] == ["format-1"]


def test_it_is_sound(golden):
    report = weft.check(golden[0])
    assert report.ok, report.damage
    assert report.n_files > 10


@pytest.mark.parametrize("mmap", [True, False])
def test_it_holds_what_was_added(golden, mmap):
    path, expected = golden
    with Index.open(path, mmap=mmap) as index:
        assert sorted(index.ids()) == sorted(expected["documents"])
        for id, document in expected["documents"].items():
            found = index.get(id)
            assert (found.text, found.language) == (document["text"], document["language"])
            assert found.metadata == document["metadata"]
        assert index.get(["nobody", "d10/Straße"]) == [None, None]


@pytest.mark.parametrize("query", range(3))
def test_it_answers_as_it_did(golden, query):
    path, expected = golden
    asked = expected["queries"][query]
    with Index.open(path) as index:
        hits = index.search(rows(asked["vectors"], expected["dim"]), k=100, exact=True)
    assert {hit.id: hit.score for hit in hits} == pytest.approx(asked["scores"], abs=1e-5)
    for hit in hits:
        spans = expected["documents"][hit.id]["spans"]
        assert [hit.passage.start, hit.passage.end] == spans[hit.passage.ordinal]


@pytest.mark.parametrize(
    ("given", "holds"),
    [
        ({"even": True}, lambda m: m["even"]),
        ({"ratio": {"$lt": 5}}, lambda m: m["ratio"] < 5),
        ({"none": None, "tags": {"$contains": "loom"}}, lambda m: "loom" in m["tags"]),
        ({"deep.name": {"$in": ["n3", "n20"]}}, lambda m: m["deep"]["name"] in ("n3", "n20")),
        ({"large": {"$gt": 2**53 + 30}}, lambda m: m["large"] > 2**53 + 30),
        ({"empty": {"$eq": {}}, "deep.list": []}, lambda m: "empty" in m),
    ],
)
def test_it_filters_as_it_did(golden, given, holds):
    path, expected = golden
    with Index.open(path) as index:
        hits = index.search(np.ones((1, expected["dim"])), k=100, filter=given)
    documents = expected["documents"]
    wanted = {id for id, d in documents.items() if d["metadata"] and holds(d["metadata"])}
    assert {hit.id for hit in hits} == wanted and wanted


def test_changes_go_on_from_there(golden):
    path, expected = golden
    held = {id: document["text"] for id, document in expected["documents"].items()}
    encoder = WordEncoder(dim=expected["dim"], document_maxlen=6, overlap=2)
    gone, replaced = sorted(held)[:2]
    with Index.open(path, encoder=encoder) as index:
        before = index.snapshot()
        index.add(["a new document about looms"], ids=["new"])
        index.upsert(["it was replaced"], ids=[replaced])
        assert index.delete([gone, "nobody"]).deleted == [gone]
        del held[gone]
        held |= {"new": "a new document about looms", replaced: "it was replaced"}
        for change in (lambda: None, index.maintain, index.compact):
            change()
            assert {id: index.get(id).text for id in index.ids()} == held
            assert index.search("a document about looms")[0].id == "new"
        assert sorted(before.ids()) == sorted(expected["documents"])
        assert index.stats().n_segments == 1 and index.check().ok
        before.close()
