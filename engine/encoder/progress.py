"""A progress bar that is imported only when it is drawn."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def counting(total: int, *, shown: bool, unit: str = "passage") -> Iterator[Callable[[int], None]]:
    """Give a function that counts what is finished, with a bar on standard error if `shown`."""
    if not shown:
        yield lambda count: None
        return
    bar: Any = _bar(total, unit)
    with bar:
        yield bar.update


def _bar(total: int, unit: str) -> Any:
    # It comes with transformers, which downloads through it, and carries no annotations.
    tqdm: Any = importlib.import_module("tqdm").tqdm
    return tqdm(total=total, desc="encoding", unit=unit, unit_scale=unit == "char", leave=False)
