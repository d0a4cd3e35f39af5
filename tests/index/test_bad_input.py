"""Bad input: a typed error that helps, nothing written, the index still searchable."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from word_encoder import WordEncoder

import weft
from weft import Document, Index, errors
from weft.engine.storage.manifest import encode_payload

GOOD = ["the warp is held taut", "the weft is woven in"]


@pytest.fixture
def index(tmp_path):
    index = Index.create(tmp_path / "index", encoder=WordEncoder())
    index.add(GOOD, ids=["warp", "weft"])
    yield index
    index.close()


@pytest.fixture
def unharmed(index):
    """Whatever a test does, the index afterwards is what it was before."""
    before = sorted(p.relative_to(index.path) for p in index.path.rglob("*") if p.is_file())
    yield index
    assert index.snapshot().generation == 2
    assert sorted(index.ids()) == ["warp", "weft"]
    assert [hit.id for hit in index.search("weft woven", k=2)] == ["weft", "warp"]
    after = sorted(p.relative_to(index.path) for p in index.path.rglob("*") if p.is_file())
    segments = [p for p in after if "segments" in p.parts]
    assert segments == [p for p in before if "segments" in p.parts]


def unit(n, dim=32):
    values = np.random.default_rng(0).normal(size=(n, dim)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def with_value(value):
    array = unit(3)
    array[1, 2] = value
    return array


TEXTS = {
    "empty text": ([""], "no text"),
    "white space": ([" \n\t "], "no text"),
    "a million tokens": (["ab cd " * 500_000], "characters"),
    "bytes that are not UTF-8": ([b"\xff\xfe"], "bytes"),
    "lone surrogate": (["a \ud800 b"], "surrogate"),
    "NUL": (["a \0 b"], "NUL"),
    "a number": ([3], "int"),
    "None": ([None], "NoneType"),
    "good then bad": (["fine", ""], "no text"),
}


@pytest.mark.parametrize(("texts", "word"), TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("method", ["add", "upsert"])
def test_texts(unharmed, method, texts, word):
    with pytest.raises(errors.InvalidDocumentError, match=word):
        getattr(unharmed, method)(texts, ids=[f"x{i}" for i in range(len(texts))])


IDS = {
    "empty": ("", "empty"),
    "a number": (7, "int"),
    "too long": ("x" * 513, "512"),
    "too long in bytes": ("é" * 257, "512"),
    "surrogate": ("\ud800", "surrogate"),
    "NUL": ("a\0b", "NUL"),
}


@pytest.mark.parametrize(("id", "word"), IDS.values(), ids=IDS)
def test_ids(unharmed, id, word):
    with pytest.raises(errors.InvalidDocumentError, match=word):
        unharmed.add(["text"], ids=[id])


def test_duplicate_ids_in_one_call(unharmed):
    with pytest.raises(errors.DuplicateDocumentError, match="'a'"):
        unharmed.add(["one", "two"], ids=["a", "a"])
    with pytest.raises(errors.DuplicateDocumentError, match="'a'"):
        unharmed.upsert(["one", "two"], ids=["a", "a"])


def test_id_in_the_index(unharmed):
    encoded = len(unharmed.encoder.calls)
    with pytest.raises(errors.DuplicateDocumentError, match=r"'warp'.*upsert"):
        unharmed.add(["new", "again"], ids=["new", "warp"])
    assert len(unharmed.encoder.calls) == encoded


@pytest.mark.parametrize(
    "arguments",
    [
        {"texts": "one string"},
        {"texts": None},
        {"texts": ["a"], "ids": ["a", "b"]},
        {"texts": ["a"], "ids": "a"},
        {"texts": ["a"], "metadata": [{}, {}]},
        {"texts": ["a"], "metadata": {"a": 1}},
        {"texts": [Document("a", "text")], "ids": ["b"]},
    ],
)
def test_argument_shapes(unharmed, arguments):
    with pytest.raises(errors.InvalidDocumentError):
        unharmed.add(**arguments)


METADATA = {
    "NaN": {"a": float("nan")},
    "infinity": {"a": [float("inf")]},
    "an object": {"a": object()},
    "bytes": {"a": b"x"},
    "a key that is no string": {1: "a"},
    "too deep": json.loads('{"a":' * 12 + "1" + "}" * 12),
    "too large": {"a": "x" * 70_000},
    "surrogate": {"a": "\udfff"},
    "NUL": {"a": "\0"},
    "a huge integer": {"a": 2**80},
}


@pytest.mark.parametrize("metadata", METADATA.values(), ids=METADATA)
def test_metadata(unharmed, metadata):
    with pytest.raises(errors.InvalidDocumentError, match="'m'"):
        unharmed.add(["text"], ids=["m"], metadata=[metadata])


EMBEDDINGS = {
    "wrong dim": (unit(3, 16), errors.DimensionMismatchError),
    "NaN": (with_value(np.nan), errors.InvalidEmbeddingError),
    "infinity": (with_value(np.inf), errors.InvalidEmbeddingError),
    "no rows": (unit(0), errors.InvalidEmbeddingError),
    "one axis": (unit(1)[0], errors.InvalidEmbeddingError),
    "integers": (np.ones((3, 32), dtype=np.int32), errors.InvalidEmbeddingError),
    "not unit": (unit(3) * 3, errors.InvalidEmbeddingError),
    "zeros": (np.zeros((3, 32), dtype=np.float32), errors.InvalidEmbeddingError),
    "text": ("abc", errors.InvalidEmbeddingError),
}


@pytest.mark.parametrize(("array", "error"), EMBEDDINGS.values(), ids=EMBEDDINGS)
def test_embeddings(unharmed, array, error):
    with pytest.raises(error, match="'e'"):
        unharmed.add(["text"], ids=["e"], embeddings=[array])


def test_embeddings_of_another_count(unharmed):
    with pytest.raises(errors.InvalidEmbeddingError, match="2 arrays for 1"):
        unharmed.add(["text"], ids=["e"], embeddings=[unit(2), unit(2)])


SEARCHES = {
    "k 0": ({"k": 0}, errors.InvalidParameterError, "k"),
    "k negative": ({"k": -3}, errors.InvalidParameterError, "k"),
    "k too large": ({"k": 10_001}, errors.InvalidParameterError, "10,000"),
    "k a float": ({"k": 2.5}, errors.InvalidParameterError, "k"),
    "unknown parameter": ({"n_probe": 3}, errors.InvalidParameterError, "nprobe"),
    "threads 257": ({"threads": 257}, errors.InvalidParameterError, "threads"),
    "nprobe 0": ({"nprobe": 0}, errors.InvalidParameterError, "nprobe"),
    "ndocs a string": ({"ndocs": "many"}, errors.InvalidParameterError, "ndocs"),
    "threshold NaN": (
        {"centroid_score_threshold": float("nan")},
        errors.InvalidParameterError,
        "centroid_score_threshold",
    ),
    "group_by": ({"group_by": "chapter"}, errors.InvalidParameterError, "group_by"),
    "unknown operator": ({"filter": {"a": {"$near": 1}}}, errors.InvalidFilterError, "near"),
    "filter a list": ({"filter": [1]}, errors.InvalidFilterError, "filter"),
    "$in without a list": ({"filter": {"a": {"$in": 3}}}, errors.InvalidFilterError, "in"),
    "empty query": ({"query": "  "}, errors.InvalidQueryError, "empty"),
    "query of bytes": ({"query": b"warp"}, errors.InvalidQueryError, "bytes"),
    "query None": ({"query": None}, errors.InvalidQueryError, "None"),
    "query a list of strings": ({"query": ["weft"]}, errors.InvalidQueryError, "search_batch"),
    "query a number": ({"query": 5}, errors.InvalidQueryError, "int"),
    "query a dict": ({"query": {"a": 1}}, errors.InvalidQueryError, "dict"),
    "query beyond float32": (
        {"query": np.full((2, 32), 1e300)},
        errors.InvalidEmbeddingError,
        "float32",
    ),
    "query surrogate": ({"query": "\ud800"}, errors.InvalidQueryError, "surrogate"),
    "query too long": ({"query": "a " * 60_000}, errors.InvalidQueryError, "characters"),
    "query wrong dim": ({"query": unit(4, 16)}, errors.DimensionMismatchError, "dim 16"),
    "query NaN": ({"query": with_value(np.nan)}, errors.InvalidEmbeddingError, "NaN"),
    "query no rows": ({"query": unit(0)}, errors.InvalidQueryError, "no vectors"),
}


@pytest.mark.parametrize(("arguments", "error", "word"), SEARCHES.values(), ids=SEARCHES)
def test_searches(unharmed, arguments, error, word):
    with pytest.raises(error, match=word.replace("$", r"\$")):
        unharmed.search(**{"query": "weft", **arguments})


def test_search_batch_refuses_the_same(unharmed):
    with pytest.raises(errors.InvalidQueryError):
        unharmed.search_batch("one string")
    with pytest.raises(errors.InvalidQueryError):
        unharmed.search_batch(["fine", " "])
    for queries in (None, 5, {"a": 1}):
        with pytest.raises(errors.InvalidQueryError):
            unharmed.search_batch(queries)
    assert unharmed.search_batch([]) == []


@pytest.mark.parametrize("texts", [None, 5, "one string", [5], [b"a"], [" "]])
def test_encode_queries_refuses_the_same(unharmed, texts):
    with pytest.raises(errors.InvalidQueryError):
        unharmed.encode_queries(texts)


def test_flags_are_true_or_false(unharmed):
    with pytest.raises(errors.InvalidParameterError, match="progress"):
        unharmed.add(["text"], progress="no")
    with pytest.raises(errors.InvalidParameterError, match="mmap"):
        Index.open(unharmed.path, mmap="x")


@pytest.mark.parametrize("path", [None, 5, b"x", "a\0b", ""])
def test_paths(path):
    with pytest.raises(errors.InvalidParameterError, match="path"):
        Index.open(path)
    with pytest.raises(errors.InvalidParameterError, match="path"):
        Index.create(path, dim=8)


@pytest.mark.parametrize("encoder", [5, object(), ["minilm"]])
def test_encoders_of_another_type(index, tmp_path, encoder):
    with pytest.raises(errors.InvalidParameterError, match="encoder"):
        Index.create(tmp_path / "other", encoder=encoder)
    with pytest.raises(errors.InvalidParameterError, match="encoder"):
        Index.open(index.path, encoder=encoder)


@pytest.mark.parametrize(
    "variables", [{"WEFT_THREADS": "0"}, {"WEFT_THREADS": "abc"}, {"WEFT_TARGET": "foo"}]
)
def test_environment_that_cannot_be_used(index, variables):
    code = (
        "import sys, weft\n"
        "try:\n    weft.Index.open(sys.argv[1])\n"
        "except weft.errors.InvalidParameterError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(index.path)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert next(iter(variables)) in done.stdout


def test_delete_refuses_a_single_string(unharmed):
    with pytest.raises(errors.InvalidDocumentError, match="sequence"):
        unharmed.delete("warp")


def test_explain_of_an_unknown_document(unharmed):
    with pytest.raises(errors.InvalidDocumentError, match="'nobody'"):
        unharmed.explain("weft", "nobody")


def test_another_encoder(index):
    with pytest.raises(errors.EncoderMismatchError, match="words-0"):
        Index.open(index.path, encoder=WordEncoder(seed=1))
    assert Index.open(index.path, encoder=WordEncoder()).search("weft", k=1)[0].id == "weft"


def test_text_for_an_index_of_embeddings(tmp_path):
    index = Index.create(tmp_path / "index", dim=32)
    index.add(["one"], ids=["a"], embeddings=[unit(3)])
    with pytest.raises(errors.InvalidQueryError, match="encoder"):
        index.search("text")
    with pytest.raises(errors.InvalidQueryError, match="encoder"):
        index.add(["text"], ids=["b"])
    assert [hit.id for hit in index.search(unit(3))] == ["a"]


def test_no_index_there(tmp_path):
    with pytest.raises(errors.IndexNotFoundError, match="nowhere"):
        Index.open(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    with pytest.raises(errors.IndexNotFoundError):
        Index.open(tmp_path / "folder")
    with pytest.raises(errors.IndexExistsError):
        Index.create(tmp_path / "folder", dim=8)
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["notes.txt"]


def test_create_over_an_index(index):
    with pytest.raises(errors.IndexExistsError):
        Index.create(index.path, encoder=WordEncoder())
    assert index.count() == 2


@pytest.mark.parametrize(
    "arguments",
    [
        {"dim": 0},
        {"dim": 5000},
        {"dim": 8, "bits": 3},
        {"dim": 8, "bits": "4"},
        {"dim": 8, "flat_below_tokens": -1},
        {"dim": 8, "threads": -1},
        {"dim": 8, "threads": 257},
        {"dim": 32, "encoder": WordEncoder()},
    ],
)
def test_create_parameters(tmp_path, arguments):
    with pytest.raises(errors.InvalidParameterError):
        Index.create(tmp_path / "index", **arguments)
    assert not (tmp_path / "index").exists()


def test_unknown_keyword_is_a_type_error(tmp_path):
    with pytest.raises(TypeError):
        Index.create(tmp_path / "index", dim=8, compression=4)


def test_an_index_of_a_newer_format(index):
    newest = sorted(index.path.glob("manifest.*.json"))[-1]
    index.close()
    manifest = json.loads(newest.read_text())
    del manifest["crc32c"]
    newest.write_bytes(encode_payload({**manifest, "format_version": 2}))
    with pytest.raises(errors.UnsupportedFormatError, match="newer"):
        Index.open(newest.parent)
    newest.write_bytes(encode_payload({**manifest, "required_features": ["warp-drive"]}))
    with pytest.raises(errors.UnsupportedFormatError, match="warp-drive"):
        Index.open(newest.parent)


def test_version_is_public():
    assert weft.__version__
