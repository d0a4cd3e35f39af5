"""`weft train`: from an index and judgements to a model, and errors that say what to do."""

import json
import os
import runpy
import signal
import sys

import pytest
from checkpoints import hf_colbert, plain
from toy_training import PASSAGES, QUERIES
from typer.testing import CliRunner

from weft.engine.encoder import load_encoder
from weft.engine.index import Index
from weft.engine.training.distillation import StepReport
from weft.integrations.cli.app import app
from weft.integrations.cli.training_options import step_bar

SMALL = ("--steps", 4, "--batch", 2, "--ways", 3, "--dim", 8)


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Run `weft train` in an empty folder, with real (tiny) encoders."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WEFT_INDEX", raising=False)
    plain(tmp_path / "bert", "bert")
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, ["train", *(str(a) for a in arguments)])


@pytest.fixture
def folder(tmp_path):
    """A collection in BEIR's layout, and an index of it."""
    place = tmp_path / "collection"
    place.mkdir()
    texts = {"corpus": PASSAGES, "queries": QUERIES}
    for name, records in texts.items():
        lines = [json.dumps({"_id": id, "text": text}) for id, text in records.items()]
        (place / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    rows = [f"{query}\tp{query[1]}\t1" for query in QUERIES]
    (place / "qrels.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *rows]) + "\n")
    return place


def fails(done, *parts):
    assert done.exit_code == 1 and isinstance(done.exception, SystemExit)
    for part in parts:
        assert part in " ".join(done.stderr.split()), done.stderr


def test_the_path_from_an_index_to_a_model(train, folder, tmp_path):
    with Index.create(tmp_path / "weft-index", encoder=tmp_path / "bert") as index:
        index.add(list(PASSAGES.values()), ids=list(PASSAGES))
    texts = ("--queries", folder / "queries.jsonl", "--passages", "mined/passages.jsonl")
    judged = ("--queries", folder / "queries.jsonl", "--qrels", folder / "qrels.tsv")
    done = train("mine", *judged, "-o", "mined", "--negatives", 4)
    assert done.exit_code == 0, done.output
    assert "mined/mined.jsonl: 5 examples" in done.stdout
    learn = ("--steps", 3, "--batch", 2, "--ways", 3)
    done = train("teacher", "mined/mined.jsonl", *texts, "-s", "bert", "-o", "t", *learn)
    assert done.exit_code == 0, done.output
    done = train("score", "mined/mined.jsonl", *texts, "-o", "scored.jsonl",
                 "-t", "t/teacher", "-t", "pooled:bert", "-t", "maxsim:bert")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "scored.jsonl: 5 examples" in done.stdout
    distil = ("distil", "scored.jsonl", *texts, "-s", "bert", *SMALL, "--track",
              "--query-maxlen", 16, "--document-maxlen", 40)  # fmt: skip
    done = train(*distil, "-o", "out")
    assert done.exit_code == 0, done.output
    model = load_encoder(tmp_path / "out" / "model")
    assert model.dim == 8 and len(model.encode_queries(["wing"])[0]) == 16
    assert load_encoder(tmp_path / "out" / "model-hf-colbert").dim == 8
    assert list((tmp_path / "out" / "metrics").iterdir())
    again = train(*distil, "-o", "out")
    assert again.exit_code == 0 and "Going on after step 4" in again.stderr
    fails(train(*distil, "-o", "out", "--learning-rate", 1), "another learning_rate")
    fails(train(*distil, "-o", "out", "--dim", 12), "another dim")


def test_one_command_from_a_folder_to_a_measured_model(train, folder):
    done = train("adapt", folder, "-o", "out", "-s", "bert", *SMALL, "-t", "pooled:bert",
                 "--positive-bonus", 1, "--seed", 1)  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = {line.split()[0]: line.split()[-1] for line in done.stdout.splitlines()[-3:]}
    assert set(rows) == {"BM25", "out/start", "round-1/model"}
    assert all(0 <= float(value) <= 1 for value in rows.values())
    # Without a terminal there is no bar, but lines.
    assert "step 4 of 4: loss" in done.stderr
    fails(train("adapt", folder, "-o", "out", "-s", "bert", *SMALL, "-t", "maxsim:bert",
                "--positive-bonus", 1, "--seed", 1), "another teachers")  # fmt: skip


def test_questions_with_answers(train, tmp_path):
    with Index.create(tmp_path / "weft-index", encoder=tmp_path / "bert") as index:
        index.add(list(PASSAGES.values()), ids=list(PASSAGES))
    lines = [{"_id": n, "text": f"what of the {word}?", "answers": [word]}
             for n, word in enumerate(("loom", "fox", "heat"))]  # fmt: skip
    (tmp_path / "qa.jsonl").write_text("\n".join(map(json.dumps, lines)))
    done = train("qa", "qa.jsonl", "-o", "out", "-s", "bert", *SMALL, "--rounds", 2)
    assert done.exit_code == 0, done.output
    assert "out/round-2/model" in done.stdout
    assert "Without a teacher" in done.stderr


def test_errors_name_the_culprit(train, folder, tmp_path):
    (tmp_path / "n.jsonl").write_text('["q0", ["p0", 1], ["p1", 2]]\n["q1", ["p0", NaN]]\n')
    texts = ("--queries", folder / "queries.jsonl", "--passages", folder / "corpus.jsonl")
    fails(train("distil", "n.jsonl", *texts, "-o", "out"), "n.jsonl, line 2", "finite")
    (tmp_path / "n.jsonl").write_text('["q0", ["p0", 1], ["p9", 2]]\n')
    fails(train("distil", "n.jsonl", *texts, "-o", "out"), "line 1", "'p9'")
    fails(train("score", "n.jsonl", *texts, "-o", "s.jsonl"), "--teacher")
    fails(train("score", "n.jsonl", *texts, "-o", "no/s.jsonl", "-t", "pooled:bert"), "no/s.jsonl")
    (tmp_path / "n.jsonl").write_text('["q0", ["p0", 1], ["p1", 2]]\n')
    short = train("distil", "n.jsonl", *texts, "-o", "out", "-s", "bert", *SMALL)
    fails(short, "line 1 has 2 passages, fewer than the 3 ways")
    gpu = train("distil", "n.jsonl", *texts, "-o", "out", "--ways", 2, "--device", "cuda:99")
    fails(gpu, "cuda:99")
    fails(train("queries", "-o", "out"), "--generator")
    fails(train("mine", "--queries", folder / "queries.jsonl", "--qrels", folder / "qrels.tsv",
                "-o", "out"), "weft-index")  # fmt: skip
    assert not (tmp_path / "out" / "model").exists()


def test_what_the_disk_refuses_is_an_error_with_a_remedy(train, folder, tmp_path):
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "n.jsonl").write_text('["q0", ["p0", 1], ["p1", 2]]\n')
    texts = ("--queries", folder / "queries.jsonl", "--passages", folder / "corpus.jsonl")
    done = train("distil", "n.jsonl", *texts, "-o", "file", "-s", "bert", "--ways", 2)
    fails(done, "the disk refused", "file", "another output folder")
    few = train("adapt", folder, "-o", "few", "-s", "bert", "--dim", 8, "--seed", 1, "--ways", 8)
    fails(few, "6 documents are too few", "ways=3")
    assert not (tmp_path / "few" / "run.json").exists()
    done = train("adapt", folder, "-o", "file", "-s", "bert", "--seed", 1, *SMALL)
    fails(done, "cannot be written", "file")


def test_a_late_interaction_start_refuses_what_it_would_not_heed(train, folder, tmp_path):
    hf_colbert(tmp_path / "late")
    (tmp_path / "n.jsonl").write_text('["q0", ["p0", 1], ["p1", 2]]\n')
    (tmp_path / "qa.jsonl").write_text('{"_id": 1, "text": "what?", "answers": ["loom"]}\n')
    with Index.create(tmp_path / "weft-index", encoder=tmp_path / "bert") as index:
        index.add(list(PASSAGES.values()), ids=list(PASSAGES))
    texts = ("--queries", folder / "queries.jsonl", "--passages", folder / "corpus.jsonl")
    distil = ("distil", "n.jsonl", *texts, "-s", "late", "--steps", 1, "--ways", 2)
    for option, other in (("dim", 128), ("query_maxlen", 32), ("document_maxlen", 180)):
        done = train(*distil, "-o", "out", "--" + option.replace("_", "-"), other)
        fails(done, f"{option} is {other}, but late is a late-interaction", f"leave {option} out")
    adapt = ("adapt", folder, "-s", "late", "--seed", 1)
    for command in (adapt, ("qa", "qa.jsonl", "-s", "late"), ("qa", "qa.jsonl")):
        fails(train(*command, "-o", "out", *SMALL), "dim is 8, but", "leave dim out")
    assert not (tmp_path / "out").exists()
    own = ("--dim", 12, "--query-maxlen", 16, "--document-maxlen", 40)
    done = train(*distil, "-o", "own", *own)
    assert done.exit_code == 0, done.output
    assert load_encoder(tmp_path / "own" / "model").dim == 12


def test_a_run_that_noted_the_default_dim_of_its_start_goes_on(train, folder, tmp_path):
    """Runs with a late-interaction start noted 128 before it could be left out."""
    hf_colbert(tmp_path / "late")
    (tmp_path / "n.jsonl").write_text('["q0", ["p0", 1], ["p1", 2]]\n')
    (tmp_path / "out").mkdir()
    noted = {"start": str((tmp_path / "late").resolve()), "dim": 128, "query_maxlen": None,
             "document_maxlen": None}  # fmt: skip
    (tmp_path / "out" / "run.json").write_text(json.dumps(noted))
    distil = ("distil", "n.jsonl", "--queries", folder / "queries.jsonl",
              "--passages", folder / "corpus.jsonl", "-s", "late", "-o", "out",
              "--steps", 1, "--ways", 2)  # fmt: skip
    done = train(*distil)
    assert done.exit_code == 0, done.output
    fails(train(*distil, "--dim", 12), "another dim")


def test_ctrl_c_ends_after_a_step_and_says_how_to_go_on(capsys):
    """The first signal is kept until the step is done; the second does not wait."""
    with step_bar() as report:
        report(StepReport(1, 9, 0.5, 1e-3, 0.1))
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            report(StepReport(2, 9, 0.5, 1e-3, 0.1))
    assert "Stopped after step 2" in capsys.readouterr().err
    with step_bar() as report, pytest.raises(KeyboardInterrupt):
        # No step is being done: what was finished is kept anyway.
        os.kill(os.getpid(), signal.SIGINT)


def test_launchers_can_start_it_as_a_module(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["weft", "train", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("weft.integrations.cli", run_name="__main__", alter_sys=True)
    assert ended.value.code == 0 and "distil" in capsys.readouterr().out


def test_help_names_every_command(train):
    done = train("--help")
    for name in ("distil", "teacher", "score", "mine", "queries", "qa", "adapt"):
        assert name in done.stdout
