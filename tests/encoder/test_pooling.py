"""Token pooling: SciPy's Ward clusters, and indexes that remember their factor."""

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

import weft
from weft.engine.encoder.pooled import PooledEncoder
from weft.engine.encoder.pooling import pool_tokens, pooled_labels, ward_labels
from weft.engine.errors import EncoderMismatchError, InvalidParameterError


def unit(n, dim=16, seed=0):
    rows = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def as_sets(labels):
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}


@pytest.mark.parametrize(("n", "count"), [(2, 1), (9, 9), (30, 10), (61, 7), (180, 60)])
def test_clusters_are_those_of_scipy(n, count):
    for seed in range(3):
        rows = unit(n, seed=seed)
        tree = linkage(rows.astype(np.float64), method="ward")
        expected = fcluster(tree, t=count, criterion="maxclust")
        found = ward_labels(rows, count)
        assert as_sets(found) == as_sets(expected)
        firsts = [int(np.argmax(found == label)) for label in range(count)]
        assert firsts == sorted(firsts)


@pytest.mark.parametrize(("n", "factor", "rows"), [(1, 3, 1), (2, 3, 2), (3, 2, 2), (41, 4, 11)])
def test_pooled_vectors_are_the_clusters_normalised_means(n, factor, rows):
    vectors = unit(n)
    found = pool_tokens(vectors, factor)
    assert found.shape == (rows, 16) and found.dtype == np.float32
    np.testing.assert_array_equal(found[0], vectors[0])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    if n > 2:
        labels = pooled_labels(vectors, factor)
        for cluster, row in enumerate(found):
            mean = vectors[labels == cluster].mean(axis=0)
            np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-6)


def test_vectors_that_cancel_out_leave_one_of_them():
    axis = np.eye(4, dtype=np.float32)
    found = pool_tokens(np.stack([axis[0], axis[1], -axis[1]]), 2)
    np.testing.assert_array_equal(found, np.stack([axis[0], axis[1]]))


def test_an_index_remembers_its_factor(tmp_path):
    texts = [f"Warp threads of loom {n} are held taut; the weft is drawn in." for n in range(6)]
    with weft.Index.create(tmp_path / "i", pool_factor=3) as index:
        index.add(texts, ids=[str(n) for n in range(6)])
        tokens = len(index.encoder.passage_tokens(texts[0]))
        assert index.stats().n_tokens < 0.5 * sum(
            len(rows) for rows in weft.load_encoder().encode_passages(texts)
        )
        before = index.search("which loom?", k=6)
    # Handed in or loaded again, the encoder pools as the index was made.
    for given in (None, weft.load_encoder(), PooledEncoder(weft.load_encoder(), 3)):
        with weft.Index.open(tmp_path / "i", encoder=given) as again:
            assert again.search("which loom?", k=6) == before
            again.upsert([texts[0]], ids=["0"])
            explained = again.explain("which loom?", "0")
            assert {match.end for match in explained.matches} <= {
                token.end for token in again.encoder.passage_tokens(texts[0])
            }
            assert len(again.encoder.passage_tokens(texts[0])) == tokens
    with pytest.raises(EncoderMismatchError, match="details"):
        weft.Index.open(tmp_path / "i", encoder=PooledEncoder(weft.load_encoder(), 2))


def test_a_reader_that_knows_no_pooling_refuses(tmp_path, monkeypatch):
    """An older Weft loads the encoder as it is: its identity lacks the factor."""
    with weft.Index.create(tmp_path / "i", pool_factor=2) as index:
        index.add(["one text"], ids=["1"])
    monkeypatch.setattr("weft.engine.identity.as_pooled", lambda encoder, factor: encoder)
    with weft.Index.open(tmp_path / "i") as old, pytest.raises(EncoderMismatchError):
        old.search("text")


@pytest.mark.parametrize("factor", [0, 17, 2.0, True, None])
def test_a_factor_out_of_range(tmp_path, factor):
    with pytest.raises(InvalidParameterError, match="pool_factor"):
        weft.Index.create(tmp_path / "i", pool_factor=factor)
    with pytest.raises(InvalidParameterError, match="ready-made"):
        weft.Index.create(tmp_path / "i", dim=8, pool_factor=2)
    assert not (tmp_path / "i").exists()
