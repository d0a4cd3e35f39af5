"""Every row of the table from one set of embeddings, against brute force."""

from pathlib import Path

import numpy as np
import pytest
from word_encoder import WordEncoder

from weft.engine.errors import InvalidInputError
from weft.engine.evaluation import embeddings, report, runs
from weft.engine.evaluation.collections import Collection
from weft.engine.evaluation.compressed import run_compressed
from weft.engine.evaluation.exact import document_scores, run_exact

WORDS = [f"w{i}" for i in range(300)]


@pytest.fixture(scope="module")
def collection() -> Collection:
    """400 documents, some longer than a passage; each query is a piece of one document."""
    rng = np.random.default_rng(5)
    documents = {
        f"d{i:03}": " ".join(rng.choice(WORDS, size=int(rng.integers(5, 90)))) for i in range(400)
    }
    targets = rng.choice(list(documents), size=12, replace=False)
    queries = {f"q{i}": " ".join(documents[id].split()[:5]) for i, id in enumerate(targets)}
    qrels = {f"q{i}": {str(id): 1} for i, id in enumerate(targets)}
    return Collection("made-up", documents, queries, qrels)


@pytest.fixture(scope="module")
def vectors(collection: Collection) -> dict[str, list[np.ndarray]]:
    """The passages of each document, encoded one by one."""
    encoder = WordEncoder()
    return {
        id: [encoder.encode_passages([text[a:b]])[0] for a, b in encoder.split(text)]
        for id, text in collection.documents.items()
    }


def brute_force(vectors: dict[str, list[np.ndarray]], query: str) -> dict[str, float]:
    rows = WordEncoder().encode_queries([query])[0]
    return {
        id: max(float((rows @ part.T).max(axis=1).sum()) for part in parts)
        for id, parts in vectors.items()
    }


def test_exact_maxsim_is_brute_force(
    collection: Collection, vectors: dict[str, list[np.ndarray]]
) -> None:
    encoder = WordEncoder()
    passages = embeddings.encode_collection(collection, encoder)
    assert len(passages.doclens) > len(collection.documents)
    queries = {id: encoder.encode_queries([text])[0] for id, text in collection.queries.items()}
    found = run_exact(list(collection.documents), passages, queries, 10).rankings
    for id, text in collection.queries.items():
        scores = brute_force(vectors, text)
        best = sorted(scores.values(), reverse=True)[:10]
        assert sorted(found[id].values(), reverse=True) == pytest.approx(best, abs=2e-3)
        assert all(score == pytest.approx(scores[d], abs=2e-3) for d, score in found[id].items())


def test_document_scores_take_the_best_passage() -> None:
    scores = np.array([1.0, -3.0, -2.0, 5.0], dtype=np.float32)
    owners = np.array([0, 2, 2, 3], dtype=np.uint32)
    assert document_scores(scores, owners, 4).tolist() == [1.0, -np.inf, -2.0, 5.0]


def test_an_index_of_fine_residuals_ranks_like_brute_force(
    collection: Collection, vectors: dict[str, list[np.ndarray]], tmp_path: Path
) -> None:
    encoder = WordEncoder()
    passages = embeddings.encode_collection(collection, encoder)
    queries = {id: encoder.encode_queries([text])[0] for id, text in collection.queries.items()}
    run = run_compressed(
        tmp_path / "index",
        collection,
        passages,
        encoder,
        queries,
        bits=8,
        k=5,
        parameters={"exact": True},
    )
    assert run.stats.codec is not None and run.stats.n_flat_segments == 0
    assert run.stats.n_tokens == passages.n_tokens
    for id, text in collection.queries.items():
        scores = brute_force(vectors, text)
        best = sorted(scores.values(), reverse=True)[:5]
        found = run.timed.rankings[id]
        assert sorted(found.values(), reverse=True) == pytest.approx(best, abs=0.05)


def test_the_whole_table(collection: Collection, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = runs.evaluate(
        collection,
        WordEncoder(),
        bits=[8, 2],
        cache=tmp_path,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert [row.system for row in result.rows] == [
        "BM25",
        "exact MaxSim",
        "Weft, 8 bits",
        "Weft's BM25, 8 bits",
        "hybrid, rrf, 8 bits",
        "hybrid, weighted, 8 bits",
        "Weft, 2 bits",
    ]
    bm25, exact, fine, words, _, weighted, coarse = result.rows
    assert words.metrics["MRR@10"] > 0.9 and weighted.metrics["MRR@10"] > 0.9
    assert bm25.bytes_per_token is None and exact.bytes_per_token == 2 * 32
    assert exact.metrics["MRR@10"] > 0.9 and fine.metrics["MRR@10"] > 0.9
    assert coarse.bytes_per_token is not None and fine.bytes_per_token is not None
    assert coarse.bytes_per_token < fine.bytes_per_token
    assert seen == [(256, 400), (400, 400)]
    assert result.to_json()["rows"][1]["metrics"] == exact.metrics
    table = report.markdown(result).splitlines()
    assert table[0].startswith("made-up: 400 documents")
    assert len(table) == 2 + 2 + 7 and table[4].startswith("| BM25 | ")


def test_the_cache_goes_on_where_it_stopped(collection: Collection, tmp_path: Path) -> None:
    encoder = WordEncoder()
    whole = embeddings.encode_collection(collection, encoder, tmp_path)
    folder = embeddings.cache_folder(tmp_path, collection, encoder)
    first, second = sorted(folder.iterdir())
    second.unlink()
    again = WordEncoder()
    resumed = embeddings.encode_collection(collection, again, tmp_path)
    assert again.calls and sum(n for _, n in again.calls) < len(whole.doclens)
    for field in ("embeddings", "doclens", "passage_document", "spans"):
        assert np.array_equal(getattr(whole, field), getattr(resumed, field))
    first.write_bytes(b"damaged")
    with pytest.raises(InvalidInputError, match=r"000000\.safetensors.*delete it"):
        embeddings.encode_collection(collection, encoder, tmp_path)


def test_another_encoder_or_corpus_has_a_cache_of_its_own(
    collection: Collection, tmp_path: Path
) -> None:
    other = Collection("made-up", {"a": "b"}, collection.queries, collection.qrels)
    folders = {
        embeddings.cache_folder(tmp_path, collection, WordEncoder()),
        embeddings.cache_folder(tmp_path, collection, WordEncoder(seed=1)),
        embeddings.cache_folder(tmp_path, collection, WordEncoder(document_maxlen=50)),
        embeddings.cache_folder(tmp_path, other, WordEncoder()),
    }
    assert len(folders) == 4
