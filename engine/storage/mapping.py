"""Files as read-only memory that holds no descriptor.

`mmap.mmap` keeps a descriptor for as long as the memory lives (up to Python 3.12 always), so that
an index of a thousand segments would need a thousand. The C library's call needs none.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

_FAILED: Final = ctypes.c_void_p(-1).value


@cache
def _library() -> ctypes.CDLL:
    """The C library with the signatures of what is called here."""
    library = ctypes.CDLL(None, use_errno=True)
    numbers = [ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    library.mmap.argtypes = [ctypes.c_void_p, *numbers]
    library.mmap.restype = ctypes.c_void_p
    library.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    library.munmap.restype = ctypes.c_int
    return library


def map_file(descriptor: int, size_bytes: int) -> Bytes:
    """A file's first bytes as memory, unmapped when the last array over it is gone.

    Args:
        descriptor: of the open file; may be closed afterwards.
        size_bytes: of the file, at least 1.

    Returns:
        uint8 [size_bytes], not writable.

    Raises:
        OSError: the operating system refuses.
    """
    address = _library().mmap(None, size_bytes, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address == _FAILED or address is None:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    memory: Any = (ctypes.c_ubyte * size_bytes).from_address(address)
    unmap = weakref.finalize(memory, _library().munmap, address, size_bytes)
    # A daemon thread may still read when the interpreter ends; the process takes all with it.
    unmap.atexit = False
    return np.frombuffer(memoryview(memory).toreadonly(), dtype=np.uint8)
