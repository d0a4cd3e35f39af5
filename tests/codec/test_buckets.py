"""Buckets of residuals where there is little to train them on."""

import numpy as np
import pytest

from weft.engine.codec.buckets import train_buckets


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_few_components_leave_no_gap_between_weights(bits):
    """A collection of a few passages holds out a row or two: fewer values than buckets."""
    values = np.random.default_rng(bits).normal(scale=0.3, size=(1, 8)).astype(np.float32)
    cutoffs, weights = train_buckets(values, bits)
    assert np.all(np.diff(cutoffs) >= 0)
    between = np.linspace(values.min(), values.max(), 1000)
    errors = np.abs(between - weights[np.searchsorted(cutoffs, between)])
    # A quarter of the mean distance between weights is what equal distances would lose.
    assert errors.mean() <= (values.max() - values.min()) / 2**bits
