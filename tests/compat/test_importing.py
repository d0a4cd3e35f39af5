"""Indexes that other packages wrote, imported and held against brute force over their vectors."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import weft
from weft.engine.errors import (
    DimensionMismatchError,
    DuplicateDocumentError,
    EncoderError,
    ForeignIndexError,
    IndexExistsError,
    InvalidInputError,
)
from weft.engine.importing import import_colbert

HERE = Path(__file__).resolve().parent / "peers"
sys.path.insert(0, str(HERE))
from vectors import DIM, N_PASSAGES, maxsim, queries  # noqa: E402

FIXTURES = sorted(path.name for path in HERE.glob("*-*") if path.is_dir())
COLBERT = "colbert-2"


def tensors(folder, name):
    """An array of either package, by name without its ending."""
    if (folder / f"{name}.npy").exists():
        return np.load(folder / f"{name}.npy")
    found = torch.load(folder / f"{name}.pt", weights_only=True)
    return [part.numpy() for part in found] if isinstance(found, tuple) else found.numpy()


def rebuilt(folder):
    """Vectors by the published formula, one bit at a time, and the lengths of the passages."""
    metadata = json.loads((folder / "metadata.json").read_text())
    chunks = range(metadata["num_chunks"])
    doclens = [
        length for n in chunks for length in json.loads((folder / f"doclens.{n}.json").read_text())
    ]
    bits = metadata.get("nbits") or metadata["config"]["nbits"]
    if (folder / "merged_codes.npy").exists():
        codes, packed = tensors(folder, "merged_codes"), tensors(folder, "merged_residuals")
    else:
        codes = np.concatenate([tensors(folder, f"{n}.codes") for n in chunks])
        packed = np.concatenate([tensors(folder, f"{n}.residuals") for n in chunks])
    codes, packed = codes[: sum(doclens)], packed[: sum(doclens)]
    if (folder / "buckets.pt").exists():
        weights = tensors(folder, "buckets")[1]
    else:
        weights = tensors(folder, "bucket_weights").astype(np.float16)
    stream = np.unpackbits(packed, axis=1).reshape(len(packed), DIM, bits)
    buckets = (stream.astype(int) << np.arange(bits)).sum(axis=2)
    rows = tensors(folder, "centroids")[codes].astype(np.float64) + weights[buckets]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), doclens


def scores_of(index, group_by="document"):
    """float [queries, passages] of every passage, by the number that is its id."""
    found = np.full((len(queries()), N_PASSAGES), np.nan)
    for number, query in enumerate(queries()):
        for hit in index.search(query, N_PASSAGES, effort="exact", group_by=group_by):
            found[number, int(hit.id)] = hit.score
    return found


@pytest.fixture
def foreign(tmp_path):
    """A copy of an index that may be spoilt."""
    folder = tmp_path / "foreign"
    shutil.copytree(HERE / COLBERT, folder)
    return folder


def edit(path, **changes):
    value = json.loads(path.read_text())
    value.update(changes)
    path.write_text(json.dumps(value))


def config(folder, **changes):
    path = folder / "metadata.json"
    value = json.loads(path.read_text())
    value["config"].update(changes)
    path.write_text(json.dumps(value))


@pytest.mark.parametrize("name", FIXTURES)
def test_scores_are_those_of_the_rebuilt_vectors(name, tmp_path):
    report = import_colbert(HERE / name, tmp_path / "index")
    embeddings, doclens = rebuilt(HERE / name)
    assert (report.n_passages, report.n_tokens) == (N_PASSAGES, sum(doclens))
    assert (report.kind, report.bits) == (name.split("-1.")[0].replace("colbert-", "colbert-ai-")
        .removesuffix(f"-{report.bits}"), int(name.rsplit("-", 1)[1]))  # fmt: skip
    with weft.Index.open(tmp_path / "index") as index:
        found = scores_of(index)
        assert index.check().ok
        ranked = [int(hit.id) for hit in index.search(queries()[0], 10)]
    # A byte holds the length of each vector: two hundredths of a step, over six query vectors.
    assert np.abs(found - maxsim(embeddings, doclens, queries())).max() < 6e-3
    assert set(ranked) == set(np.argsort(-found[0])[:10].tolist())


@pytest.mark.parametrize("name", FIXTURES)
def test_scores_are_those_of_the_package(name, tmp_path):
    import_colbert(HERE / name, tmp_path / "index")
    expected = np.load(HERE / name / "expected_scores.npy")
    with weft.Index.open(tmp_path / "index") as index:
        found = scores_of(index)
    # fast-plaid computes in half precision.
    assert np.nanmax(np.abs(found - expected)) < (2e-2 if "fast" in name else 6e-3)
    assert np.isfinite(expected).mean() > 0.9


def test_codes_and_residuals_are_taken_over_as_they_are(tmp_path):
    import_colbert(HERE / COLBERT, tmp_path / "index")
    with weft.Index.open(tmp_path / "index") as index, index.snapshot() as view:
        (segment,) = view.segments
        packed = np.concatenate([tensors(HERE / COLBERT, f"{n}.residuals") for n in range(3)])
        codes = np.concatenate([tensors(HERE / COLBERT, f"{n}.codes") for n in range(3)])
        assert (np.asarray(segment.codes) == codes).all()
        weft_bits = np.unpackbits(np.asarray(segment.residuals), axis=1, bitorder="little")
        assert (weft_bits == np.unpackbits(packed, axis=1)).all()
        assert (view.codec.centroids == tensors(HERE / COLBERT, "centroids")).all()
        cutoffs, weights = tensors(HERE / COLBERT, "buckets")
        assert (view.codec.bucket_cutoffs == cutoffs).all()
        assert (view.codec.bucket_weights == weights).all()


def test_many_centroids_are_renumbered_with_their_codes(tmp_path, monkeypatch):
    monkeypatch.setattr("weft.engine.importing.tokens.EXHAUSTIVE_BELOW", 8)
    import_colbert(HERE / COLBERT, tmp_path / "index")
    embeddings, doclens = rebuilt(HERE / COLBERT)
    with weft.Index.open(tmp_path / "index") as index, index.snapshot() as view:
        assert view.codec.cells is not None
        assert np.abs(scores_of(index) - maxsim(embeddings, doclens, queries())).max() < 6e-3


def test_texts_of_a_table(foreign, tmp_path):
    table = tmp_path / "collection.tsv"
    table.write_text("".join(f"p{n}\ttext {n}\tT{n}\n" for n in range(N_PASSAGES)))
    report = import_colbert(foreign, tmp_path / "index", collection=table)
    assert report.texts == str(table)
    with weft.Index.open(tmp_path / "index") as index:
        assert index.get("p7").text == "T7 | text 7"
        hits = index.search(queries()[0], 3, hybrid=0.5, query_text="41")
        assert {hit.id for hit in index.search(queries()[0], 3, hybrid=0, query_text="41")} == {
            "p41"
        }
        assert len(hits) == 3


def test_the_recorded_collection_is_found(foreign, tmp_path):
    lines = tmp_path / "collection.jsonl"
    rows = [{"id": n, "text": f"text {n}", "year": 2000 + n} for n in range(N_PASSAGES)]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config(foreign, collection=str(lines))
    import_colbert(foreign, tmp_path / "index")
    with weft.Index.open(tmp_path / "index") as index:
        assert index.get("3") == weft.Document("3", "text 3", {"year": 2003})


def ragatouille(folder, *, gone=()):
    """The three files that RAGatouille keeps beside an index: documents of two chunks."""
    pids = [pid for pid in range(N_PASSAGES) if pid not in gone]
    (folder / "collection.json").write_text(json.dumps([f"chunk {pid}" for pid in pids]))
    names = {str(pid): f"doc{pid % 24}" for pid in pids}
    (folder / "pid_docid_map.json").write_text(json.dumps(names))
    values = {"doc3": {"source": "a"}, "doc4": None}
    (folder / "docid_metadata_map.json").write_text(json.dumps(values))


def test_ragatouilles_documents_are_put_together(foreign, tmp_path):
    ragatouille(foreign)
    report = import_colbert(foreign, tmp_path / "index")
    assert (report.n_documents, report.n_passages) == (24, N_PASSAGES)
    wanted = maxsim(*rebuilt(foreign), queries())
    with weft.Index.open(tmp_path / "index") as index:
        assert index.get("doc3") == weft.Document("doc3", "chunk 3\n\nchunk 27", {"source": "a"})
        hits = index.search(queries()[1], 100, effort="exact", group_by="passage")
        for hit in hits:
            pid = int(hit.passage.text.removeprefix("chunk "))
            assert hit.id == f"doc{pid % 24}" and hit.passage.ordinal == pid // 24
            assert hit.score == pytest.approx(wanted[1, pid], abs=6e-3)
        assert len(hits) == N_PASSAGES


def test_removed_passages_are_left_out(foreign, tmp_path):
    """As colbert-ai's updater leaves an index: a length of 0, codes and residuals cut out."""
    wanted = maxsim(*rebuilt(foreign), queries())
    doclens = json.loads((foreign / "doclens.0.json").read_text())
    start = sum(doclens[:5])
    rows = [n for n in range(sum(doclens)) if not start <= n < start + doclens[5]]
    for name in ("0.codes.pt", "0.residuals.pt"):
        array = torch.load(foreign / name, weights_only=True)
        torch.save(array[rows], foreign / name)
    doclens[5] = 0
    (foreign / "doclens.0.json").write_text(json.dumps(doclens))
    ragatouille(foreign, gone=(5,))
    report = import_colbert(foreign, tmp_path / "index")
    assert (report.n_removed, report.n_passages) == (1, N_PASSAGES - 1)
    with weft.Index.open(tmp_path / "index") as index:
        hits = index.search(queries()[0], 100, effort="exact", group_by="passage")
        found = {hit.passage.text: hit.score for hit in hits}
    assert len(found) == N_PASSAGES - 1 and "chunk 5" not in found
    for text, score in found.items():
        assert score == pytest.approx(wanted[0, int(text.split()[1])], abs=6e-3)


def test_metadata_of_fast_plaid(tmp_path):
    import_colbert(HERE / "fast-plaid-1.7-4", tmp_path / "index")
    with weft.Index.open(tmp_path / "index") as index:
        assert index.get("7").metadata == {"page": 7, "part": "p1"}
        assert len(list(index.ids(filter={"part": "p2"}))) == N_PASSAGES // 3


def test_the_encoder_is_recorded_and_adds(foreign, tmp_path):
    checkpoints = pytest.importorskip("checkpoints")
    made = checkpoints.hf_colbert(tmp_path / "checkpoint", dim=DIM)
    config(foreign, checkpoint=str(made.folder))
    ragatouille(foreign)
    report = import_colbert(foreign, tmp_path / "index")
    assert report.encoder is not None
    with weft.Index.open(tmp_path / "index") as index:
        index.add(["the weft over the loom"], ids=["new"])
        assert index.count() == 25
        assert index.search("the weft over the loom", 1)[0].id == "new"
    other = checkpoints.hf_colbert(tmp_path / "other", dim=DIM, query_maxlen=20)
    with pytest.raises(EncoderError):
        weft.Index.open(tmp_path / "index", encoder=other.folder)
    narrow = checkpoints.hf_colbert(tmp_path / "narrow", dim=DIM // 2)
    with pytest.raises(DimensionMismatchError):
        import_colbert(foreign, tmp_path / "again", encoder=narrow.folder)


def test_an_encoder_that_is_gone(foreign, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config(foreign, checkpoint=str(tmp_path / "nowhere"))
    with pytest.raises(EncoderError, match="--no-encoder"):
        import_colbert(foreign, tmp_path / "index")
    assert import_colbert(foreign, tmp_path / "index", encoder=False).encoder is None


def save(path, value):
    torch.save(value, path)


SPOILT = {
    "no metadata": (lambda f: (f / "metadata.json").unlink(), "metadata.json"),
    "metadata that is no JSON": (lambda f: (f / "metadata.json").write_text("{"), "metadata.json"),
    "metadata without config": (lambda f: (f / "metadata.json").write_text("{}"), "metadata.json"),
    "other bits": (lambda f: config(f, nbits=3), "metadata.json"),
    "bits that do not fit": (lambda f: config(f, nbits=4), "buckets.pt"),
    "endless chunks": (lambda f: edit(f / "metadata.json", num_chunks=10**9), "metadata.json"),
    "one chunk more": (lambda f: edit(f / "metadata.json", num_chunks=4), "doclens.3.json"),
    "no centroids": (lambda f: (f / "centroids.pt").unlink(), "centroids"),
    "centroids that are a list": (lambda f: save(f / "centroids.pt", [1]), "centroids.pt"),
    "centroids of one axis": (lambda f: save(f / "centroids.pt", torch.ones(4)), "centroids.pt"),
    "centroids with NaN": (
        lambda f: save(f / "centroids.pt", torch.full((4, DIM), float("nan"))), "centroids.pt"),
    "a pickle with code": (
        lambda f: (f / "centroids.pt").write_bytes(b"cos\nsystem\n(S'true'\ntR."), "centroids.pt"),
    "an object of a class": (lambda f: save(f / "buckets.pt", Path("x")), "buckets.pt"),
    "an empty file": (lambda f: (f / "1.codes.pt").write_bytes(b""), "1.codes.pt"),
    "half a file": (lambda f: (f / "1.codes.pt").write_bytes(
        (f / "1.codes.pt").read_bytes()[:700]), "1.codes.pt"),
    "no residuals": (lambda f: (f / "2.residuals.pt").unlink(), "2.residuals.pt"),
    "codes beyond": (lambda f: save(f / "0.codes.pt", torch.full_like(
        torch.load(f / "0.codes.pt", weights_only=True), 32)), "0.codes.pt"),
    "codes below": (lambda f: save(f / "0.codes.pt", torch.full_like(
        torch.load(f / "0.codes.pt", weights_only=True), -1)), "0.codes.pt"),
    "codes that are floats": (lambda f: save(f / "0.codes.pt", torch.load(
        f / "0.codes.pt", weights_only=True).float()), "0.codes.pt"),
    "fewer codes": (lambda f: save(f / "0.codes.pt", torch.load(
        f / "0.codes.pt", weights_only=True)[1:]), "0.codes.pt"),
    "narrow residuals": (lambda f: save(f / "0.residuals.pt", torch.load(
        f / "0.residuals.pt", weights_only=True)[:, 1:]), "0.codes.pt"),
    "negative lengths": (lambda f: (f / "doclens.0.json").write_text("[-1]"), "doclens.0.json"),
    "lengths of text": (lambda f: (f / "doclens.0.json").write_text('["a"]'), "doclens.0.json"),
    "names that are missing": (lambda f: (ragatouille(f), (f / "pid_docid_map.json").write_text(
        '{"0": "a"}')), "pid_docid_map.json"),
    "too few texts": (lambda f: (ragatouille(f), (f / "collection.json").write_text('["a"]')),
        "collection.json"),
    "texts that are none": (lambda f: (ragatouille(f), (f / "collection.json").write_text("{}")),
        "collection.json"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_a_spoilt_index_is_refused_and_nothing_is_written(name, foreign, tmp_path):
    spoil, culprit = SPOILT[name]
    spoil(foreign)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ForeignIndexError, match=culprit.replace(".", r"\.")):
        import_colbert(foreign, tmp_path / "index")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("n_lines", [3, N_PASSAGES + 1])
def test_a_collection_of_another_index(n_lines, foreign, tmp_path):
    table = tmp_path / "c.tsv"
    table.write_text("".join(f"{n}\ttext\n" for n in range(n_lines)))
    with pytest.raises(InvalidInputError, match=r"c\.tsv"):
        import_colbert(foreign, tmp_path / "index", collection=table)
    assert not (tmp_path / "index").exists()


def test_ids_that_stand_twice(foreign, tmp_path):
    table = tmp_path / "c.tsv"
    table.write_text("same\ttext\n" * N_PASSAGES)
    with pytest.raises(DuplicateDocumentError):
        import_colbert(foreign, tmp_path / "index", collection=table)
    assert [path.name for path in tmp_path.iterdir() if "index" in path.name] == []


def test_a_target_that_holds_something_stays(foreign, tmp_path):
    target = tmp_path / "index"
    target.mkdir()
    (target / "note").write_text("mine")
    with pytest.raises(IndexExistsError):
        import_colbert(foreign, target)
    assert [path.name for path in target.iterdir()] == ["note"]
    (target / "note").unlink()
    import_colbert(foreign, target)
    with weft.Index.open(target) as index:
        assert index.count() == N_PASSAGES


def test_a_folder_of_something_else(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere", HERE):
        with pytest.raises(ForeignIndexError, match=r"metadata\.json"):
            import_colbert(folder, tmp_path / "index")
    (tmp_path / "metadata.json").write_text("{}")
    with pytest.raises(ForeignIndexError, match="no other index"):
        import_colbert(tmp_path, tmp_path / "index")
