"""An index over its life: commits, reopening, refresh, snapshots, compaction."""

import threading

import numpy as np
import pytest
from brute_force import corpus
from word_encoder import WordEncoder

from weft import Document, Index, errors


def results(index, queries, k=20):
    return [[(h.id, h.score, h.passage) for h in hits] for hits in index.search_batch(queries, k)]


def test_reopened_is_live_bit_for_bit(filled, queries):
    index, _ = filled
    live = results(index, queries)
    again = Index.open(index.path, encoder=WordEncoder())
    assert results(again, queries) == live
    assert list(again.ids()) == list(index.ids())
    read = Index.open(index.path, encoder=WordEncoder(), mmap=False)
    assert results(read, queries) == live


def test_threads_do_not_change_results(filled, queries):
    index, _ = filled
    one = Index.open(index.path, encoder=WordEncoder(), threads=1)
    two = Index.open(index.path, encoder=WordEncoder(), threads=2)
    assert results(one, queries) == results(two, queries)


def commits(path, texts, n, codec_from=None):
    index = Index.create(path, encoder=WordEncoder(), flat_below_tokens=1000)
    ids = [f"d{i:03}" for i in range(len(texts))]
    for part in np.array_split(np.arange(len(texts)), n):
        index.add([texts[i] for i in part], ids=[ids[i] for i in part])
    index.compact()
    return index


def test_one_ten_or_a_hundred_commits_then_compact_give_the_same_ranking(tmp_path, queries):
    texts = corpus(300, seed=3)
    one = commits(tmp_path / "one", texts, 1)
    for n in (10, 100):
        many = commits(tmp_path / str(n), texts, n)
        assert many.snapshot().codec.hash == one.snapshot().codec.hash
        assert results(many, queries) == results(one, queries)


def test_commits_to_a_coded_index_then_compact_give_the_same_ranking(tmp_path, queries):
    texts = corpus(600, seed=4)
    indexes = []
    for n in (1, 10, 100):
        index = commits(tmp_path / str(n), texts[:300], 1)
        for part in np.array_split(np.arange(300, 600), n):
            index.add([texts[i] for i in part], ids=[f"d{i:03}" for i in part])
        index.compact()
        indexes.append(index)
    assert results(indexes[1], queries) == results(indexes[0], queries)
    assert results(indexes[2], queries) == results(indexes[0], queries)


def test_a_reader_sees_each_commit_of_another_object(tmp_path):
    writer = Index.create(tmp_path / "index", encoder=WordEncoder())
    reader = Index.open(tmp_path / "index", encoder=WordEncoder())
    assert reader.search("warp") == []
    writer.add(["warp"], ids=["a"])
    assert [h.id for h in reader.search("warp")] == ["a"]
    writer.upsert(["something else"], ids=["a"])
    assert reader.get("a").text == "something else"
    writer.delete(["a"])
    assert reader.search("warp") == [] and reader.count() == 0


def test_a_snapshot_stays_as_it_was(filled, queries):
    index, _ = filled
    with index.snapshot() as view:
        before = [view.search(q, 10) for q in queries]
        index.delete([f"d{i:03}" for i in range(200)])
        index.compact()
        assert view.count() == 300
        assert [view.search(q, 10) for q in queries] == before
        assert index.count() == 100
    with pytest.raises(errors.SnapshotClosedError):
        view.search("w1")


def test_get_count_ids(tmp_path):
    index = Index.create(tmp_path / "index", encoder=WordEncoder())
    documents = [
        Document("a", "warp and weft", {"tags": ["x", "y"], "deep": {"n": 1.5}}, "en"),
        Document("é", "ligne  à ligne\n", {"none": None, "yes": True}),
    ]
    result = index.add(documents)
    assert result.ids == ["a", "é"] and result.generation == 2
    assert index.get("a") == documents[0]
    assert index.get(["é", "b", "a"]) == [documents[1], None, documents[0]]
    assert index.count() == len(index) == 2
    assert set(index.ids()) == {"a", "é"} and "a" in index and "b" not in index
    assert list(index.ids(filter={"yes": True})) == ["é"]
    assert list(index.ids(filter={"yes": {"$ne": True}})) == ["a"]
    deleted = index.delete(["b", "a"])
    assert list(index.ids(filter={"yes": {"$ne": True}})) == []
    assert (deleted.deleted, deleted.missing) == (["a"], ["b"])
    assert list(index.ids()) == ["é"]


def test_ids_are_made_when_left_out(tmp_path):
    index = Index.create(tmp_path / "index", encoder=WordEncoder())
    ids = index.add(["one", "two"]).ids
    assert len(set(ids)) == 2 and [d.text for d in index.get(ids)] == ["one", "two"]


def test_upsert_replaces_all_passages(tmp_path, encoder):
    index = Index.create(tmp_path / "index", encoder=encoder)
    index.add([" ".join(corpus(8, length=(20, 30)))], ids=["a"])
    result = index.upsert(["short", "new"], ids=["a", "b"])
    assert result.replaced == 1
    hits = index.search("w1", 100, group_by="passage")
    assert sorted(h.id for h in hits) == ["a", "b"]


def test_adding_nothing_is_no_commit(tmp_path):
    index = Index.create(tmp_path / "index", encoder=WordEncoder())
    assert index.add([]).generation == 1
    assert index.delete([]).generation == 1


def test_one_commit_covers_the_whole_call(tmp_path, monkeypatch):
    monkeypatch.setattr("weft.engine.ingest.STAGE_BYTES", 4096)
    index = Index.create(tmp_path / "index", encoder=WordEncoder())
    texts = corpus(200)
    assert index.add(texts).generation == 2
    with index.snapshot() as view:
        assert len(view.segments) > 5
    assert index.count() == 200


def test_a_failing_encoder_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("weft.engine.ingest.STAGE_BYTES", 4096)
    monkeypatch.setattr("weft.engine.ingest.ENCODE_CHARACTERS", 500)
    encoder = WordEncoder()
    index = Index.create(tmp_path / "index", encoder=encoder)
    works = encoder.encode_passages

    def fails(texts, **arguments):
        if any("poison" in text for text in texts):
            raise RuntimeError("no")
        return works(texts, **arguments)

    monkeypatch.setattr(encoder, "encode_passages", fails)
    with pytest.raises(RuntimeError):
        index.add([*corpus(100), "poison"])
    assert index.count() == 0
    assert list((tmp_path / "index" / "segments").iterdir()) == []


def test_threads_write_and_read_at_once(tmp_path):
    index = Index.create(tmp_path / "index", encoder=WordEncoder())
    failures = []

    def write(n):
        for i in range(10):
            index.add([f"word{n} word{i}"], ids=[f"{n}-{i}"])

    def read():
        try:
            last = 0
            for _ in range(60):
                count = index.count()
                assert count >= last and len(index.search("word1", 50)) >= last
                last = count
        except Exception as error:  # noqa: BLE001 - a thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    threads += [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and index.count() == 30


def test_a_closed_index(tmp_path):
    index = Index.create(tmp_path / "index", encoder=WordEncoder())
    index.close()
    index.close()
    with pytest.raises(errors.WeftError):
        index.add(["a"])
    with pytest.raises(errors.WeftError):
        index.search("a")


def test_stats(filled, kind):
    index, oracle = filled
    stats = index.stats()
    n_tokens = sum(len(p) for passages in oracle.documents.values() for p in passages)
    assert (stats.n_documents, stats.n_passages, stats.n_tokens) == (300, 300, n_tokens)
    on_disk = sum(p.stat().st_size for p in index.path.rglob("*") if p.is_file())
    assert 0 < sum(stats.size_bytes.values()) <= on_disk
    if kind == "coded":
        assert stats.codec.bits == 8 and 0.9 < stats.codec.mean_cosine <= 1
    else:
        assert stats.codec is None
