"""CRC32C on every target against the standard's values and the reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weft import kernels
from weft.kernels import reference

KNOWN = {
    b"123456789": 0xE3069283,
    bytes(32): 0x8A9136AA,
    b"\xff" * 32: 0x62A8AB43,
    bytes(range(32)): 0x46DD794E,
    bytes(range(31, -1, -1)): 0x113FDB5C,
}


def test_values_of_the_standard(target: str) -> None:
    """RFC 3720, appendix B.4, and the usual check value."""
    for message, checksum in KNOWN.items():
        assert kernels.crc32c(np.frombuffer(message, dtype=np.uint8)).tolist() == [checksum]


@pytest.mark.parametrize("target", kernels.targets())
@settings(max_examples=30, deadline=None)
@given(message=st.binary(max_size=300), block_bytes=st.integers(1, 120))
def test_blocks(target: str, message: bytes, block_bytes: int) -> None:
    buffer = np.frombuffer(message, dtype=np.uint8)
    with kernels.use_target(target):
        checksums = kernels.crc32c(buffer, block_bytes)
    assert checksums.dtype == np.uint32
    assert np.array_equal(checksums, reference.crc32c(buffer, block_bytes))


def test_the_default_block_and_an_odd_start(target: str) -> None:
    buffer = np.random.default_rng(0).integers(0, 256, 200_001).astype(np.uint8)[1:]
    assert np.array_equal(kernels.crc32c(buffer), reference.crc32c(buffer))


def test_one_flipped_bit_shows(target: str) -> None:
    buffer = np.zeros(1000, dtype=np.uint8)
    clean = kernels.crc32c(buffer, 100)
    buffer[555] ^= 16
    assert np.flatnonzero(kernels.crc32c(buffer, 100) != clean).tolist() == [5]
