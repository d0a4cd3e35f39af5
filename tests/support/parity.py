"""What tests of parity share: settings, and when two answers are the same."""

import numpy as np

from weft.engine.search.plan import published_parameters

TIE = 1e-4
DIM = 24
SETTINGS = [  # of algorithm="plaid", which a threshold chooses by itself
    {"k": 10, **published_parameters(10)},
    {"k": 100, **published_parameters(100), "ndocs": 400},
    {"k": 100, "nprobe": 4, "centroid_score_threshold": 0.4, "ndocs": 480},
    {"k": 100, "nprobe": 3, "algorithm": "plaid", "ndocs": 440},
    {"k": 5, "nprobe": 2, "centroid_score_threshold": 0.8, "ndocs": 80},
]


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def half(rows):
    return rows.astype(np.float16).astype(np.float32)


def same_top(names, scores, expected, k):
    """The oracle's top k up to ties: scores agree one by one, and so do names above a tie."""
    ordered = sorted(expected.values(), reverse=True)[:k]
    assert len(names) >= len(ordered)
    assert len(set(names)) == len(names)
    np.testing.assert_allclose(scores[: len(ordered)], ordered, atol=TIE)
    for name, score in zip(names, scores, strict=True):
        assert abs(expected[name] - score) <= TIE
    if ordered:
        safe = {name for name, score in expected.items() if score > ordered[-1] + TIE}
        assert safe <= set(names)


def oracle_search(world, query, names, plan):
    """The stages as they stand, with more probes and passages while fewer than k are found."""
    nprobe, ndocs, n_rescored = plan.nprobe, plan.ndocs, plan.n_rescored
    while len(names) > ndocs:
        found = world.oracle.search(
            query,
            names,
            nprobe=nprobe,
            threshold=plan.centroid_score_threshold,
            ndocs=ndocs,
            n_rescored=n_rescored,
        )
        if len(found) >= plan.k:
            return found
        nprobe, ndocs, n_rescored = 2 * nprobe, 2 * ndocs, 2 * n_rescored
    return world.oracle.exact(query, names)
