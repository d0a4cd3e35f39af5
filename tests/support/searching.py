"""Threads that search one open index while workers change it; and what the workers encode with."""

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from modelled_index import DIM
from soaking import ANSWERS, N_QUERIES, rows_of
from word_encoder import WordEncoder

from weft import Index
from weft.engine.storage.codec_store import read_codec
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.generation import newest_generation, read_manifest
from weft.engine.storage.layout import generations

PAUSE_SECONDS = 0.005
"""Between two calls of a thread, so that there is no more to compare than there is time for."""


class SoakEncoder(WordEncoder):
    """Gives "version 7 of d3" the vectors that the oracle expects of it."""

    def __init__(self):
        super().__init__(dim=DIM, seed=1, source="soak-encoder")

    def encode_passages(self, texts, *, languages=None, progress=False):
        parts = [text.split() for text in texts]
        return [rows_of(id, int(version)) for _, version, _, id in parts]


@dataclass(frozen=True)
class Searching:
    """One process that searches.

    Args:
        path: of the index.
        log: where the answers go, one a line.
        n_threads: that share the index.
        seconds: how long they go on.
    """

    path: str
    log: str
    n_threads: int
    seconds: float


def search(given):
    """Ask, and tell the answers with the newest generations before and after each call."""
    told, errors = [], []
    with Index.open(given.path, threads=1) as index:

        def go_on(number):
            try:
                _ask_for(given, index, Random(number), told)
            except Exception as error:
                errors.append(error)
                raise

        threads = [threading.Thread(target=go_on, args=(n,)) for n in range(given.n_threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors, errors
    Path(given.log).write_text("".join(json.dumps(line) + "\n" for line in told))


def _ask_for(given, index, random, told):
    directory, end = LocalDirectory(given.path), time.monotonic() + given.seconds
    while time.monotonic() < end:
        kind = random.choice(("search", *ANSWERS))
        number = random.randrange(N_QUERIES)
        before, started = newest_generation(directory), time.perf_counter()
        answer = ANSWERS[kind](index, number)
        seconds = time.perf_counter() - started
        after = newest_generation(directory)
        line = {"kind": kind, "number": number, "before": before, "after": after}
        told.append(line | {"answer": answer, "seconds": seconds})
        time.sleep(PAUSE_SECONDS)


def answers(given):
    return [json.loads(line) for line in Path(given.log).read_text().splitlines()]


def quantile_ms(lines, quantile):
    """Of the searches among answers."""
    return 1000 * np.quantile([x["seconds"] for x in lines if x["kind"] == "search"], quantile)


def keep_codecs(path, folder):
    """Each codec that any manifest still names, as a file that the oracle reads."""
    directory, kept = LocalDirectory(path), {}
    for generation in generations(directory):
        manifest = read_manifest(directory, generation)
        for ref in manifest.codecs:
            if ref.id not in kept:
                name = f"writer.log.{ref.epoch}.{ref.n_centroids}.{ref.id}.npz"
                kept[ref.id] = Path(folder) / name
                np.savez(kept[ref.id], **read_codec(directory, ref, manifest.dim).tensors())
    return sorted(kept.values())
