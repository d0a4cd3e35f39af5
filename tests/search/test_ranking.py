"""Rankings that are said to be ordered are taken at their word, but for NaN."""

import numpy as np
import pytest

from weft.engine import limits
from weft.engine.embeddings import check_query_embeddings
from weft.engine.errors import CorruptIndexError, InvalidEmbeddingError, InvalidQueryError
from weft.engine.search.ranking import Ranking, best


def ranking(scores, **options):
    n = len(scores)
    zeros, pids = np.zeros(n, dtype=np.int32), np.arange(n, dtype=np.uint32)
    return Ranking(zeros, pids, np.array(scores, dtype=np.float32), **options)


@pytest.mark.parametrize("n", [1, 3, 5, 200])
def test_the_best_of_an_ordered_ranking(n):
    scores = [9, 8, 8, 8, 7, *range(6, -300, -1)]
    some, same = best(ranking(scores, ordered=True), n), best(ranking(scores), n)
    assert some.pid.tolist() == same.pid.tolist() == [*range(4 if n == 3 else n)]
    shuffled = best(ranking(scores[::-1]), n)
    assert shuffled.score.tolist() == some.score.tolist()


@pytest.mark.parametrize("place", [0, 2])
def test_nan_among_the_best(place):
    scores = [3.0, 2.0, 1.0, 0.0]
    scores[place] = np.nan
    for ordered in (True, False):
        with pytest.raises(CorruptIndexError):
            best(ranking(scores, ordered=ordered), 3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_vectors_of_a_query_are_passed_as_they_are(dtype):
    rows = np.random.default_rng(0).normal(size=(5, 9)).astype(dtype)
    fortran, odd = np.asfortranarray(rows), np.zeros(rows.nbytes + 1, dtype=np.uint8)[1:]
    unaligned = odd.view(dtype).reshape(rows.shape)
    unaligned[:] = rows
    for given in (rows, fortran, unaligned, rows[::-1][::-1]):
        checked = check_query_embeddings(given, 9)
        assert checked.dtype == np.float32 and checked.flags.c_contiguous and checked.flags.aligned
        assert np.array_equal(checked, rows.astype(np.float32))


def test_vectors_of_a_query_at_the_limit():
    rows = np.zeros((300, 4), dtype=np.float32)
    rows[:, 0] = limits.MAX_QUERY_NORM * 0.999
    assert np.array_equal(check_query_embeddings(rows, 4), rows)
    rows[7, 1] = limits.MAX_QUERY_NORM
    with pytest.raises(InvalidQueryError, match="row 7"):
        check_query_embeddings(rows, 4)
    for bad in (np.nan, np.inf, -np.inf):
        rows[7, 1] = bad
        with pytest.raises(InvalidEmbeddingError, match="row 7"):
            check_query_embeddings(rows, 4)
