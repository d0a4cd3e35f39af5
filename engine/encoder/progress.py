"""A progress bar that is imported only when it is drawn."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def counting(total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Give a function that counts finished texts, with a bar on standard error if `shown`."""
    if not shown:
        yield lambda count: None
        return
    bar: Any = _bar(total)
    with bar:
        yield bar.update


def _bar(total: int) -> Any:
    # It comes with transformers, which downloads through it, and carries no annotations.
    tqdm: Any = importlib.import_module("tqdm").tqdm
    return tqdm(total=total, desc="encoding", unit="passage", leave=False)
