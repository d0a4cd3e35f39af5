"""Maintenance does what is due in steps of a commit each, and nothing where nothing is due."""

import re
from pathlib import Path

import numpy as np
import pytest
from lineage_tools import (
    DIM,
    check,
    domain,
    epochs,
    fill,
    grow,
    names,
    new_index,
    passages,
    recall,
    scores_of,
    unit,
)

from weft.engine.errors import MissingDependencyError
from weft.engine.index import Index
from weft.engine.storage import drift, lineage, tiers
from weft.engine.storage.maintenance import maintain
from weft.engine.storage.replacement import Replacement
from weft.engine.storage.writer import Writer


@pytest.fixture(params=[2, 4])
def bits(request):
    return request.param


@pytest.fixture
def coded(tmp_path, bits):
    """An index of one domain, compressed; and what is in it."""
    directory, store = new_index(tmp_path / "index", bits=bits), {}
    with Writer(directory) as writer:
        fill(writer, store, "a", passages(domain(1), 100, 1))
        assert names(maintain(writer)) == ["train", "convert"]
    return directory, store


@pytest.mark.parametrize("n", [0, 20])
def test_nothing_due_is_no_commit(tmp_path, n):
    directory, store = new_index(tmp_path / "index", bits=4), {}
    with Writer(directory) as writer:
        if n:
            fill(writer, store, "a", passages(domain(1), n, 1))
        before = directory.list()
        report = maintain(writer)
        assert report.steps == () and report.left == ()
        assert report.generation == 1 + bool(n)
        assert directory.list() == before


def test_a_codec_is_trained_and_then_segments_follow(coded):
    directory, store = coded
    assert epochs(directory) == [(1, 0)]
    check(directory, store)
    with Writer(directory) as writer:
        assert names(maintain(writer)) == []


def test_the_same_domain_does_not_drift(coded):
    directory, store = coded
    with Writer(directory) as writer:
        for n in range(4):
            fill(writer, store, f"more{n}-", passages(domain(1), 50, 100 + n))
            assert names(maintain(writer)) == []
    assert epochs(directory) == [(1, 0)]


def query(seed):
    rng = np.random.default_rng(seed)
    rows = passages(domain(2), 1, 1000 + seed)[0][:4]
    return unit(rows + 0.3 * rng.normal(size=rows.shape) / np.sqrt(DIM))


NARROW = ({"nprobe": 1, "ndocs": 40, "algorithm": "plaid"}, {"nprobe": 8, "ndocs": 40})
"""Searches that find little of what the centroids serve badly, by either algorithm."""


def mean_recalls(directory, store, n=40):
    """recall@10 of narrow searches against MaxSim over the embeddings as they were handed in."""
    found = []
    with Index.open(directory.path) as index:
        for seed in range(n):
            exact = scores_of({id: [rows] for id, rows in store.items()}, query(seed))
            answers = (index.search(query(seed), 10, **parameters) for parameters in NARROW)
            found.append([recall([hit.id for hit in hits], exact) for hits in answers])
    return np.mean(found, axis=0)


def test_a_shift_of_domain_appends_centroids_and_search_finds_more(coded, unheld, bits):
    directory, store = coded
    with Writer(directory) as writer:
        fill(writer, store, "b", passages(domain(2), 100, 2))
        before = mean_recalls(directory, store)
        converted = ["convert"] if bits >= 4 else []
        report = maintain(writer)
        assert names(report) == ["append", *converted]
        assert "drifted" in report.steps[0].reason
        assert names(maintain(writer)) == []
        fill(writer, store, "c", passages(domain(2), 100, 3))
        assert names(maintain(writer)) == []
    assert epochs(directory) == [(1, 1)]
    check(directory, store)
    # Narrow searches find little of what drifted; what follows is found, and at 4 bits the rest.
    gained = mean_recalls(directory, store) - before
    assert (gained > (0.2 if bits >= 4 else 0.1)).all()


def test_too_little_has_drifted(coded, unheld):
    directory, store = coded
    with Writer(directory) as writer:
        fill(writer, store, "b", passages(domain(2), 4, 2))
        assert names(maintain(writer)) == []
        with writer.snapshot() as snapshot:
            last = snapshot.manifest.segments[-1]
            assert (
                snapshot.manifest.codec.centroid_cosine - last.centroid_cosine > drift.DRIFT_BOUND
            )


def test_appends_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(lineage, "GROWTH", 10**6)
    monkeypatch.setattr(lineage, "GROWTH_WHEN_DRIFTED", 10**6)
    monkeypatch.setattr(drift, "MAX_PREFIXES", 5)
    directory, store = new_index(tmp_path / "index", bits=2), {}
    with Writer(directory) as writer:
        fill(writer, store, "a", passages(domain(1), 100, 1))
        maintain(writer)
        with writer.snapshot() as snapshot:
            trained = snapshot.codec.n_centroids
        for n in range(2, 10):
            fill(writer, store, f"b{n}-", passages(domain(n), 30, n))
            maintain(writer)
            with writer.snapshot() as snapshot:
                codec = snapshot.manifest.codec
                most = drift.OVERSIZE * 16 * np.sqrt(snapshot.n_tokens)
                assert trained < codec.n_centroids <= most + 1
                # What no centroids can be appended for waits for none.
                assert not [view for view in snapshot.segments if view.kind == "flat"]
        assert len(codec.prefixes) == 5
    check(directory, store)


def maintained_when_grown(path, bits):
    """A coded index that has grown ninefold, and what was then done to it."""
    directory, store = new_index(path, bits=bits), {}
    with Writer(directory) as writer:
        fill(writer, store, "a", passages(domain(1), 100, 1))
        maintain(writer)
        grow(writer, store)
        report = maintain(writer)
        assert names(maintain(writer)) == []
    return directory, store, report


def test_a_grown_index_gets_another_epoch(tmp_path):
    directory, store, report = maintained_when_grown(tmp_path / "index", bits=4)
    assert names(report)[0] == "retrain" and set(names(report)[1:]) == {"convert"}
    assert "9.0 times" in report.steps[0].reason and report.left == ()
    assert epochs(directory) == [(2, 0)]
    check(directory, store, least=0.9)


def test_ready_made_embeddings_of_few_bits_are_not_compressed_twice(tmp_path):
    directory, store, report = maintained_when_grown(tmp_path / "index", bits=2)
    assert "retrain" not in names(report)
    (left,) = report.left
    assert left.startswith("retrain: 9.0 times") and "no encoder" in left
    assert [epoch for epoch, _ in epochs(directory)] == [1]
    check(directory, store)


def test_a_budget_ends_it_between_steps(coded):
    directory, store = coded
    with Writer(directory) as writer:
        for n in range(tiers.FANOUT):
            fill(writer, store, f"m{n}-", passages(domain(1), 1, 40 + n))
        for bounds in ({"seconds": 0.0}, {"max_steps": 0}):
            report = maintain(writer, **bounds)
            assert names(report) == [] and "budget" in report.left[0]
        assert names(maintain(writer, max_steps=1)) == ["merge"]
    check(directory, store)


@pytest.mark.parametrize("bounds", [{"seconds": 0.0}, {"max_steps": 0}])
def test_without_a_budget_nothing_is_done(coded, monkeypatch, bounds):
    """Neither changes that were given up are settled, nor is anything collected."""
    directory, store = coded
    with Writer(directory) as writer:
        with writer.snapshot() as snapshot:
            free = snapshot.manifest.next_sequence
        (directory.path / "inbox" / f"{free + 1:016d}").write_text("a queued change")
        before = everything(directory)
        with monkeypatch.context() as patch:
            patch.setattr(Writer, "collect", lambda _: pytest.fail("something may be removed"))
            report = maintain(writer, **bounds)
        assert report.steps == () and everything(directory) == before
        assert names(maintain(writer)) == ["sweep"]
    check(directory, store)


def everything(directory):
    return sorted(path for path in directory.path.rglob("*") if "pins" not in path.parts)


@pytest.mark.parametrize(
    ("name", "n", "target"),
    [
        ("train", 100, "weft.engine.storage.lineage.train"),
        ("convert", 100, "weft.engine.storage.due.convert"),
        ("merge", 1, "weft.engine.storage.replacement.merge"),
        ("rewrite", 2, "weft.engine.storage.replacement.merge"),
    ],
)
def test_what_cannot_be_done_is_tried_once(tmp_path, monkeypatch, name, n, target):
    directory, store, calls = new_index(tmp_path / "index", bits=4), {}, []

    def fail(*_, **__):
        calls.append(name)
        assert len(calls) == 1
        raise MissingDependencyError("it cannot be done here")

    with Writer(directory) as writer:
        for number in range(tiers.FANOUT if name == "merge" else 1):
            fill(writer, store, f"a{number}-", passages(domain(1), n, number))
        if name == "rewrite":
            writer.commit([], delete=["a0-0"])
            del store["a0-0"]
        monkeypatch.setattr(target, fail)
        report = maintain(writer)
        (left,) = report.left
        assert left.startswith(f"{name}: ") and left.endswith("it cannot be done here")
        assert calls == [name] and name not in names(report)
        monkeypatch.undo()
        assert name in names(maintain(writer))
    check(directory, store)


def test_small_segments_are_merged_by_tiers(tmp_path, monkeypatch):
    written = []
    real = Replacement.put

    def put(self, merged, **options):
        written.append(0 if merged.ref is None else merged.ref.n_documents)
        real(self, merged, **options)

    monkeypatch.setattr(Replacement, "put", put)
    directory, store = new_index(tmp_path / "index", bits=4, flat_below_tokens=10**9), {}
    n = 80
    with Writer(directory) as writer:
        for number in range(n):
            fill(writer, store, f"d{number}-", passages(domain(1), 1, number))
            assert set(names(maintain(writer))) <= {"merge"}
            with writer.snapshot() as snapshot:
                assert len(snapshot.segments) <= 3 * tiers.FANOUT
                ids = [id for view in snapshot.segments for id in view.passages.ids()]
        assert ids == list(store)
    check(directory, store)
    # Each row is written anew once per tier at most: log_8(80) is below 3.
    assert sum(written) <= 3 * n


def test_merged_segments_stay_within_their_bound(tmp_path):
    directory = new_index(
        tmp_path / "index", bits=4, flat_below_tokens=10**9, max_segment_passages=20
    )
    store = {}
    with Writer(directory) as writer:
        for number in range(40):
            fill(writer, store, f"d{number}-", passages(domain(1), 2, number))
            maintain(writer)
        with writer.snapshot() as snapshot:
            sizes = [view.n_passages for view in snapshot.segments]
    assert max(sizes) <= 20 and len(sizes) < 16
    check(directory, store)


def test_segments_with_many_dead_rows_are_rewritten(coded):
    directory, store = coded
    with Writer(directory) as writer:
        gone = [f"a{number}" for number in range(0, 100, 5)]
        writer.commit([], delete=gone)
        assert names(maintain(writer)) == []
        gone += [f"a{number}" for number in range(1, 100, 5)]
        writer.commit([], delete=gone[20:])
        assert names(maintain(writer)) == ["rewrite"]
        store = {id: rows for id, rows in store.items() if id not in gone}
        check(directory, store)
        writer.commit([], delete=list(store))
        assert names(maintain(writer)) == ["rewrite"]
        with writer.snapshot() as snapshot:
            assert snapshot.segments == [] and snapshot.manifest.tombstones == ()


def test_what_it_goes_by_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "parameters.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([\d.,]+) \|", text, re.M))
    for module, name in [
        (drift, "DRIFT_BOUND"),
        (drift, "HOLD_BOUND"),
        (drift, "HELD_TOKENS"),
        (drift, "HELD_SECONDS"),
        (lineage, "DRIFTED_SHARE"),
        (drift, "OVERSIZE"),
        (drift, "MAX_PREFIXES"),
        (lineage, "GROWTH"),
        (tiers, "FANOUT"),
        (tiers, "MAX_DEAD_SHARE"),
    ]:
        assert float(rows[name].replace(",", "")) == getattr(module, name)
