"""Made-up texts, and an oracle that scores them by brute force from the definition."""

import numpy as np

WORDS = [f"w{i}" for i in range(400)]


def corpus(n, seed=0, length=(5, 30)):
    """Texts whose words are skewed, so that some passages share many of them."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(*length, size=n)
    return [" ".join(WORDS[int(i)] for i in rng.zipf(1.3, size=s) % len(WORDS)) for s in sizes]


class BruteForce:
    """The definition: a document scores as its best passage; a passage scores MaxSim."""

    def __init__(self, encoder):
        self.encoder = encoder
        self.documents = {}

    def add(self, ids, texts):
        for id, text in zip(ids, texts, strict=True):
            spans = self.encoder.split(text)
            self.documents[id] = [self.encoder.encode_passages([text[a:b]])[0] for a, b in spans]

    def delete(self, ids):
        for id in ids:
            del self.documents[id]

    def scores(self, query, among=None):
        vectors = self.encoder.encode_queries([query])[0].astype(np.float64)
        return {
            id: max(float((vectors @ p.T).max(axis=1).sum()) for p in passages)
            for id, passages in self.documents.items()
            if among is None or id in among
        }

    def best(self, query, k, among=None):
        scores = self.scores(query, among)
        return sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:k]


def same_ranking(hits, oracle, tolerance):
    """Whether the hits are the oracle's best, taking scores within the tolerance as ties."""
    got = [(hit.id, hit.score) for hit in hits]
    if len(got) != len(oracle["best"]):
        return False
    return all(
        abs(score - expected) <= tolerance and abs(oracle["scores"][id] - expected) <= tolerance
        for (id, score), (_, expected) in zip(got, oracle["best"], strict=True)
    )
