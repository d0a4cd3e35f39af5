"""Inverted lists against a dictionary of sets, in one chunk and in many."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft.engine.storage import inverted_lists
from weft.engine.storage.inverted_lists import InvertedLists


@given(
    doclens=st.lists(st.integers(1, 9), min_size=1, max_size=40),
    n_centroids=st.integers(1, 40),
    chunk=st.sampled_from([1, 7, 50, 1 << 22]),
    entries=st.sampled_from([1, 5, 1 << 24]),
    seed=st.integers(0, 9),
)
@settings(max_examples=80, deadline=None)
def test_lists(doclens, n_centroids, chunk, entries, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inverted_lists, "CHUNK_TOKENS", chunk)
        patch.setattr(inverted_lists, "LIST_ENTRIES", entries)
        codes = np.random.default_rng(seed).integers(0, n_centroids, sum(doclens)).astype(np.uint16)
        lengths = np.array(doclens, dtype=np.uint32)
        lists = InvertedLists(lambda a, b: codes[a:b], lengths, n_centroids)
        found = np.concatenate(list(lists.chunks()))
    expected = defaultdict(set)
    start = 0
    for pid, length in enumerate(doclens):
        for code in codes[start : start + length].tolist():
            expected[code].add(pid)
        start += length
    assert lists.lengths.tolist() == [len(expected[c]) for c in range(n_centroids)]
    assert found.tolist() == [pid for c in range(n_centroids) for pid in sorted(expected[c])]
    assert lists.n_entries == len(found)
