"""`weft tune`: a table and a call for people, JSON for programs, files of queries."""

import json

import numpy as np
import pytest
from brute_force import corpus

from weft.engine.index import Index


@pytest.fixture
def index(weft, tmp_path):
    """A coded index of texts in the default folder."""
    from word_encoder import WordEncoder

    path = tmp_path / "weft-index"
    with Index.create(path, encoder=WordEncoder(), flat_below_tokens=1000) as made:
        made.add(corpus(200), ids=[f"d{n}" for n in range(200)])
        made.compact()
    return path


@pytest.fixture
def questions():
    return corpus(8, seed=5, length=(3, 9))


def test_queries_from_a_text_file(weft, index, questions, tmp_path):
    (tmp_path / "queries.txt").write_text("\n".join(questions) + "\n\n")
    done = weft("tune", index, "--queries", "queries.txt", "--recall", 0.8, "-k", 3)
    assert done.exit_code == 0, done.output
    assert "8 queries of your own" in done.stdout and "chosen" in done.stdout
    (call,) = [line for line in done.stdout.splitlines() if line.startswith("index.search(")]
    with Index.open(index) as opened:
        assert len(eval(call, {"index": opened, "query": questions[0]})) == 3


def test_a_report_for_programs(weft, index, questions, tmp_path):
    lines = [json.dumps({"_id": str(n), "text": text}) for n, text in enumerate(questions)]
    (tmp_path / "queries.jsonl").write_text("\n".join(lines))
    done = weft("tune", "--queries", "queries.jsonl", "--recall", 0.8, "--json")
    report = json.loads(done.stdout)
    assert report["reached"] and report["chosen"]["recall"] >= 0.8
    assert (report["n_queries"], report["sampled"], report["k"]) == (8, False, 10)
    assert report["chosen"] in report["front"]
    assert all(str(report["chosen"][name]) in report["call"] for name in ("nprobe", "ndocs"))


def test_vectors_and_sampled_queries(weft, index, tmp_path):
    rows = np.random.default_rng(0).normal(size=(6, 4, 32)).astype(np.float32)
    np.save(tmp_path / "queries.npy", rows)
    done = weft("tune", "-i", index, "--queries", "queries.npy", "--recall", 0.5, "--json")
    assert json.loads(done.stdout)["n_queries"] == 6
    done = weft("tune", "-i", index, "--sample", 12, "--recall", 0.5)
    assert done.exit_code == 0
    assert "12 queries made of the index's passages" in " ".join(done.stdout.split())
    assert "optimistic" in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("none.txt", None, "cannot be read"), ("empty.txt", b"\n\n", "holds no query"),
     ("a.jsonl", b'{"id": 1}', "line 1"), ("a.jsonl", b"[]", "not an object"),
     ("a.txt", b"\xff\xfe\n", "not UTF-8"), ("a.npy", b"nothing", "cannot be read")],
)  # fmt: skip
def test_files_that_hold_no_queries(weft, index, tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = weft("tune", index, "--queries", name)
    assert done.exit_code == 1 and message in " ".join(done.stderr.split())


def test_what_cannot_be_tuned(weft, index, tmp_path):
    np.save(tmp_path / "flat.npy", np.eye(32, dtype=np.float32))
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    for arguments, message in (
        (["--recall", 1.5], "recall"),
        (["--queries", "flat.npy"], "shape"),
        (["--queries", "objects.npy"], "cannot be read"),
        (["-k", 200], "Nothing to tune"),
    ):
        done = weft("tune", index, *arguments)
        assert done.exit_code == 1 and message in done.stderr
    assert weft("tune", "nowhere").exit_code == 1
