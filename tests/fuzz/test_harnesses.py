"""Every harness answers its seeds and some random scripts of edits; `make fuzz` goes on."""

from __future__ import annotations

import logging

import pytest
from explore import explore, scripts
from harnesses import HARNESSES, make

SLOW = frozenset(
    {
        "repair",
        "passages",
        "names",
        "segment",
        "weights",
        "tombstones",
        "codec",
        "generation",
        "inbox",
    }
)


@pytest.mark.parametrize("name", HARNESSES)
def test_a_short_run_finds_nothing(name):
    harness = make(name)
    logging.disable()
    try:
        found = explore(harness, scripts(harness, 4 if name in SLOW else 40, seed=17))
    finally:
        logging.disable(logging.NOTSET)
        harness.close()
    assert not found, "\n".join(
        f"{place}: {data.hex()}\n{text}" for place, (_, data, text) in found.items()
    )
