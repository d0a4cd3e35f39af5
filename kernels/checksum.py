"""CRC32C, the checksum of everything that Weft writes."""

from __future__ import annotations

from .arrays import U8, U32
from .dispatch import backend


def crc32c(buffer: U8, block_bytes: int = 65536) -> U32:
    """Checksum each block of a buffer.

    Args:
        buffer: uint8 [n].
        block_bytes: length of a block, at least 1; the last block may be shorter.

    Returns:
        uint32 [ceil(n / block_bytes)]: CRC32C (Castagnoli) of each block.

    Source: Castagnoli et al. 1993; RFC 3720, appendix B.4.
    """
    result: U32 = backend().crc32c(buffer, block_bytes)
    return result
