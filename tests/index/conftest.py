"""An index of each kind beside the oracle that knows what is in it."""

import pytest
from brute_force import BruteForce, corpus
from word_encoder import WordEncoder

from weft import Index


@pytest.fixture
def encoder():
    return WordEncoder()


@pytest.fixture(params=["flat", "coded"])
def kind(request):
    return request.param


@pytest.fixture
def filled(tmp_path, kind, encoder):
    """An index of 300 documents, flat or coded, with the oracle that knows them."""
    index = Index.create(
        tmp_path / "index",
        encoder=encoder,
        bits=8,
        flat_below_tokens=10**9 if kind == "flat" else 1000,
    )
    texts = corpus(300)
    ids = [f"d{i:03}" for i in range(len(texts))]
    index.add(texts, ids=ids, metadata=[{"n": i, "even": i % 2 == 0} for i in range(len(texts))])
    index.compact()
    oracle = BruteForce(encoder)
    oracle.add(ids, texts)
    yield index, oracle
    index.close()


@pytest.fixture
def queries():
    return corpus(12, seed=99, length=(3, 9))
