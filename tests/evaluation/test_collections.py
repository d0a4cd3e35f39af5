import gzip
import json
from pathlib import Path

import pytest

from weft.engine.errors import InvalidInputError, InvalidParameterError
from weft.engine.evaluation.collections import load_collection

CORPUS = [
    {"_id": "d1", "title": "Tea", "text": "is drunk hot."},
    {"_id": "d2", "title": "", "text": "Coffee is roasted."},
    {"_id": "d3", "title": "", "text": "   "},
]
QUERIES = [{"_id": "q1", "text": "hot drinks"}, {"_id": "q2", "text": "never judged"}]


def write(path: Path, text: str, *, gz: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if gz:
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text, encoding="utf-8")


def lines(records: list[dict[str, str]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def beir(folder: Path, *, gz: bool = False, qrels: str = "qrels.tsv") -> Path:
    write(folder / "corpus.jsonl", lines(CORPUS), gz=gz)
    write(folder / "queries.jsonl", lines(QUERIES), gz=gz)
    write(folder / qrels, "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n", gz=gz)
    return folder


@pytest.mark.parametrize("gz", [False, True])
@pytest.mark.parametrize("qrels", ["qrels.tsv", "qrels/test.tsv"])
def test_beir(tmp_path: Path, gz: bool, qrels: str) -> None:
    found = load_collection(beir(tmp_path / "tiny", gz=gz, qrels=qrels))
    assert found.name == "tiny"
    assert found.documents == {"d1": "Tea is drunk hot.", "d2": "Coffee is roasted."}
    assert found.queries == {"q1": "hot drinks"}
    assert found.qrels == {"q1": {"d1": 2, "d2": 0}}


def test_beir_takes_the_named_split(tmp_path: Path) -> None:
    beir(tmp_path, qrels="qrels/test.tsv")
    write(tmp_path / "qrels/dev.tsv", "q2\td2\t1\n")
    assert load_collection(tmp_path, split="dev").qrels == {"q2": {"d2": 1}}


def lotte(folder: Path, *, gz: bool = False) -> Path:
    write(folder / "collection.tsv", "0\tA first answer.\n1\tA second\twith a tab.\n", gz=gz)
    write(folder / "questions.search.tsv", "0\tfirst?\n1\tsecond?\n", gz=gz)
    write(folder / "questions.forum.tsv", "7\tforum?\n", gz=gz)
    qas = {"qid": 0, "query": "first?", "answer_pids": [0, 1]}
    write(folder / "qas.search.jsonl", json.dumps(qas) + "\n", gz=gz)
    qas = {"qid": 7, "query": "forum?", "answer_pids": [1]}
    write(folder / "qas.forum.jsonl", json.dumps(qas) + "\n", gz=gz)
    return folder


@pytest.mark.parametrize("gz", [False, True])
def test_lotte(tmp_path: Path, gz: bool) -> None:
    folder = lotte(tmp_path, gz=gz)
    found = load_collection(folder)
    assert found.documents == {"0": "A first answer.", "1": "A second\twith a tab."}
    assert found.queries == {"0": "first?"}
    assert found.qrels == {"0": {"0": 1, "1": 1}}
    assert load_collection(folder, questions="forum").qrels == {"7": {"1": 1}}


def test_the_hash_follows_ids_texts_and_their_order(tmp_path: Path) -> None:
    first = load_collection(beir(tmp_path / "a")).corpus_hash()
    assert load_collection(beir(tmp_path / "b", gz=True)).corpus_hash() == first
    other = beir(tmp_path / "c")
    write(other / "corpus.jsonl", lines(CORPUS[1::-1]))
    assert load_collection(other).corpus_hash() != first


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("corpus.jsonl", '{"_id": "d1", "text": "a"}\n{"_id": \n', "corpus.jsonl, line 2"),
        ("corpus.jsonl", "[1, 2]\n", "corpus.jsonl, line 1 is a JSON list"),
        ("corpus.jsonl", '{"_id": "d1"}\n', "corpus.jsonl, line 1: 'text'"),
        ("corpus.jsonl", '{"_id": "d", "text": "a"}\n' * 2, "line 2: id 'd' stands"),
        ("corpus.jsonl", '{"_id": "d", "text": ""}\n', "no documents"),
        ("queries.jsonl", '{"_id": "q9", "text": "a"}\n', "query 'q1'"),
        ("qrels.tsv", "q1\td1\n", "qrels.tsv, line 1 has 2"),
        ("qrels.tsv", "a\tb\tc\nq1\td1\thigh\n", "line 2: the grade 'high'"),
        ("qrels.tsv", "a\tb\tc\n", "no judgements"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    write(beir(tmp_path) / name, text)
    with pytest.raises(InvalidInputError, match=message):
        load_collection(tmp_path)


def test_bytes_that_are_not_utf8_are_named_by_offset(tmp_path: Path) -> None:
    good = b'{"_id": "d1", "text": "a"}\n'
    (beir(tmp_path) / "corpus.jsonl").write_bytes(good + b'{"_id": "\xff"}\n')
    with pytest.raises(InvalidInputError, match=f"line 2: byte 0xff at offset {len(good) + 9}"):
        load_collection(tmp_path)


def test_a_truncated_gzip_file_is_named(tmp_path: Path) -> None:
    path = beir(tmp_path, gz=True) / "corpus.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(InvalidInputError, match=r"corpus\.jsonl\.gz is damaged"):
        load_collection(tmp_path)


def test_a_malformed_answer_is_named(tmp_path: Path) -> None:
    write(lotte(tmp_path) / "qas.search.jsonl", '{"qid": 0}\n')
    with pytest.raises(InvalidInputError, match="line 1: an object with"):
        load_collection(tmp_path)


def test_missing_files_and_parameters(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="is no collection"):
        load_collection(tmp_path)
    (beir(tmp_path) / "queries.jsonl").unlink()
    with pytest.raises(InvalidInputError, match=r"no queries\.jsonl"):
        load_collection(tmp_path)
    with pytest.raises(InvalidParameterError, match="'search' or 'forum'"):
        load_collection(tmp_path, questions="chat")
