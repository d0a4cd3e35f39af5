"""The comparison with other engines: worker, recall, ratios, tables, against plain NumPy."""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
N_PASSAGES, DIM, N_QUERIES = 30, 8, 4
PATIENCE = 600
"""Seconds: a busy machine may need a minute to import torch."""


@pytest.fixture
def peers(monkeypatch):
    """The package, which lies beside Weft in the repository and is not installed with it."""
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import peers

    yield peers
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        del sys.modules[name]


@pytest.fixture
def vectors():
    """Unit vectors: embeddings by passage, and queries."""
    random = np.random.default_rng(3)
    doclens = random.integers(2, 7, N_PASSAGES)
    rows = random.standard_normal((doclens.sum(), DIM))
    embeddings = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    asked = random.standard_normal((N_QUERIES, 32, DIM))
    queries = (asked / np.linalg.norm(asked, axis=2, keepdims=True)).astype(np.float32)
    return embeddings, np.concatenate(([0], np.cumsum(doclens))), queries


@pytest.fixture
def scores(vectors):
    """Exact MaxSim in float64, [queries, passages]."""
    embeddings, offsets, queries = vectors
    spans = [slice(a, b) for a, b in itertools.pairwise(offsets)]
    rows = embeddings.astype(np.float64)
    return np.array([[(rows[s] @ q.T).max(axis=0).sum() for s in spans] for q in queries])


@pytest.fixture
def folder(vectors, tmp_path):
    embeddings, offsets, queries = vectors
    np.save(tmp_path / "embeddings.npy", embeddings)
    np.save(tmp_path / "offsets.npy", offsets)
    np.save(tmp_path / "queries.npy", queries)
    return tmp_path


@pytest.fixture
def make_corpus(peers, vectors, scores):
    from benchmarks.corpus import Corpus

    def make():
        embeddings, offsets, queries = vectors
        order = np.argsort(-scores, axis=1)
        best = np.take_along_axis(scores, order, axis=1)
        return Corpus(embeddings, offsets, list(queries), order, best, scores)

    return make


@pytest.mark.parametrize("name", ["torch", "weft-flat"])
def test_a_worker_gives_the_exact_answer_and_times(peers, folder, scores, name):
    from benchmarks.peers.catalogue import VARIANTS
    from benchmarks.peers.process import WorkerProcess

    variant = next(v for v in VARIANTS if v.name == name)
    index = folder / "index-of-it"
    index.mkdir()
    with WorkerProcess(variant, Path(sys.executable), folder, folder, index) as worker:
        built = worker.ask("build", PATIENCE, threads=1)
        worker.ask("open", PATIENCE)
        parameters = dict(variant.settings[0].parameters(10))
        answer = worker.ask("measure", PATIENCE, k=5, parameters=parameters, queries=[2, 0])
    assert answer["answers"] == np.argsort(-scores[[2, 0]], axis=1)[:, :5].tolist()
    assert len(answer["wall_ms"]) == len(answer["cpu_ms"]) == 2
    assert built["index_bytes"] > 0 and answer["peak_bytes"] > 0


def test_a_worker_tells_what_went_wrong_and_goes_on(peers, folder):
    from benchmarks.peers.catalogue import VARIANTS
    from benchmarks.peers.environments import PeerError
    from benchmarks.peers.process import WorkerProcess

    torch = next(v for v in VARIANTS if v.name == "torch")
    with WorkerProcess(torch, Path(sys.executable), folder, folder, folder) as worker:
        worker.ask("open", PATIENCE)
        with pytest.raises(PeerError, match="torch fp32: "):
            worker.ask("measure", PATIENCE, k=10 * N_PASSAGES, parameters={}, queries=[0])
        assert worker.ask("measure", PATIENCE, k=1, parameters={}, queries=[0])["answers"]


def test_recall_counts_the_queries_that_were_asked(peers, make_corpus, scores):
    from benchmarks.peers.summary import recalls

    best = np.argsort(-scores, axis=1)
    answers = {3: best[3, :4].tolist(), 1: [*best[1, :2].tolist(), *best[1, 20:22].tolist()]}
    assert recalls(make_corpus(), 4, answers) == {1: 0.5, 3: 1.0}


def test_a_peer_is_set_against_the_fastest_that_finds_no_less(peers, make_corpus, scores):
    from benchmarks.peers.catalogue import VARIANTS
    from benchmarks.peers.measure import Case, Measured
    from benchmarks.peers.summary import summarise
    from benchmarks.peers.vectors import Collection

    by_name = {variant.name: variant for variant in VARIANTS}
    weft, peer = by_name["weft-4"], by_name["tachiom"]
    best = np.argsort(-scores, axis=1)[:, :10]

    def case(variant, setting, n_right, rounds):
        wrong = np.argsort(scores, axis=1)[:, : 10 - n_right]
        ids = np.concatenate((best[:, :n_right], wrong), axis=1).tolist()
        times = [[ms] * N_QUERIES for ms in rounds]
        return Case(variant, setting, 10, N_QUERIES, times, times, dict(enumerate(ids)))

    named = {setting.name: setting for setting in weft.settings}
    cases = [
        case(weft, named["fast"], 7, [1.0, 1.0, 1.0]),
        case(weft, named["balanced (default)"], 8, [2.0, 4.0, 2.0]),
        case(weft, named["ndocs 4096"], 9, [3.0, 8.0, 9.0]),
        case(peer, peer.settings[0], 8, [20.0, 20.0, 30.0]),
        case(peer, peer.settings[1], 10, [50.0, 50.0, 50.0]),
    ]
    data = Collection(N_PASSAGES, DIM, make_corpus(), Path())
    summary = summarise(data, Measured(cases, {}, {}), {}, {}, "wall")
    row, beyond = summary.rows[3], summary.rows[4]
    reaching = summary.weft_reaching(row)
    assert reaching is summary.rows[1] is summary.weft_default(10)
    ratio = reaching.times_faster_than(row)
    assert (ratio.median, ratio.low, ratio.high) == (10.0, 5.0, 15.0)
    assert summary.weft_reaching(beyond) is None


def test_slow_engines_are_asked_other_queries_in_each_round(peers):
    from benchmarks.peers.catalogue import VARIANTS
    from benchmarks.peers.measure import Case, Plan, Serving, _turn

    class Recorder:
        def __init__(self):
            self.asked = []

        def ask(self, command, seconds, **arguments):
            self.asked.append(arguments["queries"])
            times = [1.0] * len(arguments["queries"])
            ids = [[0]] * len(times)
            memory = {"peak_bytes": 1, "anonymous_bytes": 1}
            return {"wall_ms": times, "cpu_ms": times, "answers": ids, **memory}

    class Data:
        class corpus:
            queries = range(5)

    variant = VARIANTS[0]
    case, recorder = Case(variant, variant.settings[0], 10, n_queries=2), Recorder()
    for number in range(3):
        _turn(case, Serving(variant, recorder, 0.0), Data, number, Plan(3, 1.0, 0, 0))
    assert recorder.asked == [[0, 1], [2, 3], [4, 0]]
    assert sorted(case.answers) == [0, 1, 2, 3, 4]


def test_a_table_is_padded_markdown(peers):
    from benchmarks.peers.report import table

    lines = table(("engine", "ms"), [("a", "1.25"), ("longer name", "10.00")]).splitlines()
    assert lines[1] == "| :---------- | ----: |"
    assert lines[2] == "| a           |  1.25 |"
    assert len({len(line) for line in lines}) == 1


def test_every_measurement_is_kept(peers, tmp_path):
    from benchmarks.peers.catalogue import VARIANTS
    from benchmarks.peers.measure import Case, Measured

    variant = VARIANTS[0]
    case = Case(variant, variant.settings[0], 10, 1, [[1.5]], [[1.25]], {0: [4, 2]})
    Measured([case], {}, {"x": "broken"}).write(tmp_path / "results" / "a.json")
    found = json.loads((tmp_path / "results" / "a.json").read_text())
    assert found["cases"][0]["wall_ms"] == [[1.5]] and found["failed"] == {"x": "broken"}
    assert found["cases"][0]["answers"] == {"0": [4, 2]}
