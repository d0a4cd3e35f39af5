"""Search parameters: defaults, presets and refusals."""

import pytest

from weft.engine.errors import InvalidParameterError
from weft.engine.search.plan import make_plan, published_parameters


def test_published_presets_are_the_papers():
    wanted = {10: (1, 0.5, 256), 100: (2, 0.45, 1024), 1000: (4, 0.4, 4096)}
    for k, triple in wanted.items():
        assert tuple(published_parameters(k).values()) == triple
        plan = make_plan(k, **published_parameters(k))
        assert (plan.nprobe, plan.centroid_score_threshold, plan.ndocs) == triple
    assert published_parameters(5000)["ndocs"] == 20_000


@pytest.mark.parametrize("k", [1, 10, 100, 1000, 10_000])
def test_defaults_score_at_least_k_exactly(k):
    plan = make_plan(k)
    assert plan.k == k
    assert plan.n_rescored >= k
    assert plan.group_by == "document"
    assert not plan.exact


def test_given_parameters_are_taken():
    plan = make_plan(
        3, nprobe=2, centroid_score_threshold=0, ndocs=7, exact=True, group_by="passage", threads=2
    )
    assert (plan.nprobe, plan.centroid_score_threshold, plan.ndocs) == (2, 0.0, 7)
    assert (plan.exact, plan.group_by, plan.threads) == (True, "passage", 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"k": 0},
        {"k": -1},
        {"k": 10_001},
        {"k": 2.0},
        {"k": True},
        {"k": "10"},
        {"nprobe": 0},
        {"nprobe": 4097},
        {"nprobe": None},
        {"ndocs": 0},
        {"ndocs": 10**7},
        {"centroid_score_threshold": float("nan")},
        {"centroid_score_threshold": float("inf")},
        {"centroid_score_threshold": "0.5"},
        {"centroid_score_threshold": True},
        {"exact": 1},
        {"exact": None},
        {"group_by": "id"},
        {"group_by": None},
        {"group_by": ["document"]},
        {"threads": -1},
    ],
)
def test_values_outside_their_range_are_refused_by_name(wrong):
    with pytest.raises(InvalidParameterError, match=next(iter(wrong))):
        make_plan(**wrong)


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(InvalidParameterError, match=r"nprob\b.*nprobe.*ndocs"):
        make_plan(10, nprob=3)


def test_an_effort_chooses_what_is_left_out():
    fast, balanced = make_plan(10, effort="fast"), make_plan(10)
    assert (fast.nprobe, fast.ndocs) < (balanced.nprobe, balanced.ndocs)
    assert fast.n_rescored < balanced.n_rescored
    assert make_plan(10, effort="exact").exact
    assert make_plan(10, effort="fast", nprobe=5).nprobe == 5
    assert make_plan(10, ndocs=4000).n_rescored == 1000
    assert make_plan(10, ndocs=4000, n_rescored=30).n_rescored == 30


def test_a_threshold_means_plaid():
    assert make_plan(10, centroid_score_threshold=0.4).algorithm == "plaid"
    assert make_plan(10, centroid_score_threshold=None).algorithm == "weft"


@pytest.mark.parametrize(
    "wrong",
    [
        {"effort": "exact", "exact": False},
        {"algorithm": "weft", "centroid_score_threshold": 0.4},
        {"effort": "best"},
        {"effort": None},
        {"algorithm": "PLAID"},
        {"n_rescored": 0},
        {"n_rescored": 1.5},
    ],
)
def test_contradictions_and_unknown_words_are_refused(wrong):
    with pytest.raises(InvalidParameterError, match=next(iter(wrong))):
        make_plan(10, **wrong)


def test_a_plan_made_again_is_that_of_its_own_parameters():
    """Plans are kept; what is equal but not the same is not taken for one another."""
    assert make_plan(10, nprobe=3) == make_plan(10, nprobe=3)
    assert make_plan(10, nprobe=4).nprobe == 4
    assert make_plan(11, nprobe=4).k == 11
    assert make_plan(10, exact=True).exact
    for wrong in ({"exact": 1}, {"nprobe": 3.0}, {"nprobe": True}, {"threads": False}):
        with pytest.raises(InvalidParameterError, match=next(iter(wrong))):
            make_plan(10, **wrong)
    for k in (True, 10.0, "10"):
        with pytest.raises(InvalidParameterError, match="k is"):
            make_plan(k)


def test_a_mapping_that_changed_makes_another_plan():
    hybrid = {"weight": 0.2}
    assert make_plan(10, hybrid=hybrid).hybrid.weight == 0.2
    hybrid["weight"] = 0.4
    assert make_plan(10, hybrid=hybrid).hybrid.weight == 0.4
