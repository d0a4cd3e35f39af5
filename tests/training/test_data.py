"""Malformed lines are refused by file and line before anything is trained."""

import gzip
import json

import pytest
from checkpoints import plain

from weft.engine.errors import CheckpointError, InvalidParameterError, InvalidTrainingDataError
from weft.engine.training.data import TrainingData, order
from weft.engine.training.nway import Example, NWayFile, write_examples
from weft.engine.training.settings import TrainingSettings
from weft.engine.training.starting import prepare
from weft.engine.training.texts import TextMapping, Texts
from weft.engine.training.trainable import TrainableEncoder

GOOD = '["q", ["a", 1.5], ["b", 0]]'


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "not JSON"),
        ('{"q": 1}', "must look like"),
        ('["q"]', "must look like"),
        ('["q", ["a", 1], ["b", NaN]]', "finite"),
        ('["q", ["a", 1], ["b", Infinity]]', "finite"),
        ('["q", ["a", 1], ["b", "2"]]', "finite"),
        ('["q", ["a", 1], ["b", true]]', "finite"),
        ('["q", ["a", 1], ["b", 1' + "0" * 400 + "]]", "finite"),
        ('["q", ["a", 1], ["b", -1e300]]', "finite"),
        ('["q", ["a", 1], ["b", 1, 2]]', "is no"),
        ('["q", ["a", 1], "b"]', "some of its passages"),
        ('["q", ["a", 1], ["a", 2]]', "twice"),
        ('["", ["a", 1], ["b", 2]]', "no id"),
        ('["q", [1.5, 1], ["b", 2]]', "no id"),
        ('["q", ["a", 1]]', "at least 2"),
        ('["q", ["a", 3], ["b", 3]]', "collapsed"),
        ('["q", "a", "b"]', "no scores"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, what):
    path = tmp_path / "nway.jsonl"
    path.write_text(f"{GOOD}\n\n{line}\n")
    with pytest.raises(InvalidTrainingDataError, match=what) as caught:
        NWayFile(path)
    assert f"{path}, line 3" in str(caught.value)


def test_lines_without_scores_serve_binary_labels(tmp_path):
    path = tmp_path / "nway.jsonl"
    path.write_text('[7, 8, "c"]\n')
    example = NWayFile(path, scored=False)[0]
    assert (example.query_id, example.passage_ids, example.scores) == ("7", ("8", "c"), ())


def test_lines_are_read_by_number_in_any_order(tmp_path):
    path = tmp_path / "nway.jsonl"
    lines = [[f"é{n}", [f"a{n}", n + 1.0], [f"b{n}", 0.0]] for n in range(50)]
    path.write_text("\n\n".join(json.dumps(line, ensure_ascii=False) for line in lines))
    found = NWayFile(path)
    assert [found[n].query_id for n in (49, 0, 17)] == ["é49", "é0", "é17"]
    assert len(found) == len(list(found)) == 50
    assert found[1].where == f"{path}, line 3"


def test_what_is_written_is_read_again(tmp_path):
    given = [Example("q", ("a", "b"), (1.25, -2.0), ""), Example("r", ("c", "d"), (0.0, 1.0), "")]
    assert write_examples(tmp_path / "n.jsonl", given) == 2
    found = [(e.query_id, e.passage_ids, e.scores) for e in NWayFile(tmp_path / "n.jsonl")]
    assert found == [(e.query_id, e.passage_ids, e.scores) for e in given]


def test_compressed_and_empty_and_absent_examples(tmp_path):
    (tmp_path / "n.jsonl.gz").write_bytes(gzip.compress(GOOD.encode()))
    (tmp_path / "empty.jsonl").write_text("\n")
    for name, what in (("n.jsonl.gz", "unpack"), ("empty.jsonl", "no example"), ("no", "read")):
        with pytest.raises(InvalidTrainingDataError, match=what):
            NWayFile(tmp_path / name)


@pytest.mark.parametrize(("missing", "what"), [("q", "query 'q'"), ("b", "passage 'b'")])
def test_an_id_without_a_text_is_named_with_its_line(tmp_path, missing, what):
    path = tmp_path / "nway.jsonl"
    path.write_text(GOOD + "\n")
    texts = {id: "text" for id in ("q", "a", "b") if id != missing}
    with pytest.raises(InvalidTrainingDataError, match=what) as caught:
        TrainingData(NWayFile(path), TextMapping(texts), TextMapping(texts))
    assert "line 1" in str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
def test_texts_of_both_forms(tmp_path, packed):
    rows = {"t.tsv": "1\tone\n2\ttwo\tTitle\n"}
    rows["t.jsonl"] = '{"_id": "1", "text": "one"}\n{"id": 2, "title": "Title", "text": "two"}\n'
    for name, content in rows.items():
        path = tmp_path / (name + ".gz" * packed)
        path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
        texts = Texts(path)
        assert dict(texts) == {"1": "one", "2": "Title two"}
        assert "3" not in texts and len(texts) == 2


@pytest.mark.parametrize(
    ("name", "line", "what"),
    [
        ("t.tsv", b"3", "id <tab> text"),
        ("t.tsv", b"3\ta\tb\tc", "4 fields"),
        ("t.tsv", b"1\tagain", "twice"),
        ("t.tsv", b"3\t ", "empty text"),
        ("t.tsv", b"3\t\xff", "UTF-8"),
        ("t.jsonl", b"[]", "object"),
        ("t.jsonl", b'{"_id": "3"}', "'text' must be a string"),
        ("t.jsonl", b'{"text": "x"}', "'_id' must be a string"),
        ("t.jsonl", b'{"_id": "3", "text": "x", "language": ""}', "language"),
    ],
)
def test_a_bad_text_is_named(tmp_path, name, line, what):
    first = b"1\tone\n" if name == "t.tsv" else b'{"_id": "1", "text": "one"}\n'
    (tmp_path / name).write_bytes(first + line + b"\n")
    with pytest.raises(InvalidTrainingDataError, match=what) as caught:
        Texts(tmp_path / name)
    assert "line 2" in str(caught.value)


def test_windows_line_ends_and_a_byte_order_mark_are_no_part_of_anything(tmp_path):
    path = tmp_path / "nway.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n\r\n" + GOOD.encode() + b"\r\n")
    found = NWayFile(path)
    assert [(one.query_id, one.passage_ids) for one in found] == [("q", ("a", "b"))] * 2
    assert [found[n].where[-1] for n in (0, 1)] == ["1", "3"]
    (tmp_path / "t.tsv").write_bytes(b"\xef\xbb\xbf1\tone\r\n2\ttwo\r\n")
    assert dict(Texts(tmp_path / "t.tsv")) == {"1": "one", "2": "two"}


def test_a_damaged_archive_is_named(tmp_path):
    lines = "".join(f"{n}\ttext number {n * 7919}\n" for n in range(3000))
    content = bytearray(gzip.compress(lines.encode()))
    content[len(content) // 2 : len(content) // 2 + 200] = b"\xff" * 200
    for name, some in (("a.tsv.gz", content), ("b.tsv.gz", content[: len(content) // 3])):
        (tmp_path / name).write_bytes(some)
        with pytest.raises(InvalidTrainingDataError, match=name):
            Texts(tmp_path / name)


def test_a_line_that_is_too_short_for_training_is_named_before_it(tmp_path):
    path = tmp_path / "nway.jsonl"
    path.write_text('["q", ["a", 3], ["b", 2], ["c", 1]]\n\n' + GOOD + "\n")
    texts = TextMapping(dict.fromkeys("qabc", "text"))
    data = TrainingData(NWayFile(path), texts, texts)
    data.require_ways(2)
    with pytest.raises(InvalidTrainingDataError, match=r"line 3 has 2 passages, fewer than the 3"):
        data.require_ways(3)


def test_any_other_byte_makes_other_data(tmp_path):
    """Resuming with corrected texts would mix two runs."""

    def fingerprint(name, query, passages):
        folder = tmp_path / name
        folder.mkdir()
        lines = [f'["q", ["a", 1.5], ["b", {n}.25]]\n' for n in range(2, 6)]
        (folder / "n.jsonl").write_text("".join(lines))
        (folder / "p.tsv").write_text(passages)
        examples = NWayFile(folder / "n.jsonl")
        return TrainingData(
            examples, TextMapping({"q": query}), Texts(folder / "p.tsv")
        ).fingerprint()

    first = fingerprint("1", "query", "a\tone\nb\ttwo\n")
    assert fingerprint("2", "query", "a\tone\nb\ttwo\n") == first
    assert fingerprint("3", "quest", "a\tone\nb\ttwo\n") != first
    assert fingerprint("4", "query", "a\tone\nb\ttwe\n") != first


def test_a_language_without_an_adapter_names_the_line_of_the_text(tmp_path):
    plain(tmp_path / "xmod", "xmod")
    start = prepare(
        tmp_path / "xmod",
        tmp_path / "start",
        dim=8,
        projection="orthogonal",
        query_maxlen=16,
        document_maxlen=40,
    )
    (tmp_path / "p.jsonl").write_text(
        '{"_id": "a", "text": "x", "language": "de"}\n{"_id": "b", "text": "y", "language": "fr"}\n'
    )
    (tmp_path / "n.jsonl").write_text(GOOD + "\n")
    data = TrainingData(
        NWayFile(tmp_path / "n.jsonl"), TextMapping({"q": "?"}), Texts(tmp_path / "p.jsonl")
    )
    with pytest.raises(InvalidTrainingDataError, match=r"line 2.*'fr'"):
        data.require_languages(TrainableEncoder.load(start).checkpoint)


def test_a_backbone_without_any_language_adapter_is_refused(tmp_path):
    plain(tmp_path / "xmod", "xmod")
    start = prepare(
        tmp_path / "xmod",
        tmp_path / "start",
        dim=8,
        projection="orthogonal",
        query_maxlen=16,
        document_maxlen=40,
    )
    path = start / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"languages": []}))
    with pytest.raises(CheckpointError, match="language adapters"):
        TrainableEncoder.load(start)


def test_an_epoch_holds_each_example_once_and_epochs_differ():
    pairs = [pair for step in range(20) for pair in order(10, step, 4, seed=1)]
    epochs = [[n for e, n in pairs if e == epoch] for epoch in range(8)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 8
    assert pairs != [pair for step in range(20) for pair in order(10, step, 4, seed=2)]


def test_negatives_are_drawn_anew_and_the_positive_stays(data):
    drawn = {data.batch([(epoch, 0)], 3, seed=0).examples[0].passage_ids for epoch in range(30)}
    assert {ids[0] for ids in drawn} == {"p0"}
    assert len(drawn) == 3
    for ids in drawn:
        example = data.batch([(0, 0)], 4, seed=0).examples[0]
        scores = dict(zip(example.passage_ids, example.scores, strict=True))
        assert set(ids) <= set(scores)
    with pytest.raises(InvalidTrainingDataError, match="fewer than the 5 ways"):
        data.batch([(0, 0)], 5, seed=0)


@pytest.mark.parametrize(
    "bad",
    [
        {"steps": 0}, {"batch": True}, {"ways": 1}, {"learning_rate": 0}, {"temperature": -1},
        {"in_batch": float("nan")}, {"loss": "mse"}, {"dtype": "fp16"}, {"seed": -1},
    ],
)  # fmt: skip
def test_settings_out_of_range(bad):
    with pytest.raises(InvalidParameterError, match=next(iter(bad))):
        TrainingSettings(**bad)


def test_the_learning_rate_rises_and_falls_linearly():
    settings = TrainingSettings(steps=10, warmup=4, learning_rate=1.0)
    found = [settings.rate(step) for step in range(10)]
    assert found == pytest.approx([0.25, 0.5, 0.75, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])
