"""Lag from submit to found, one passage at a time: MiniLM, one worker, a running searcher.

    python benchmarks/ingestion/lag.py [--passages 200] [--encoder-threads 1]

Each passage is submitted when the one before has been found. It counts as found when a search for
its own first words by an open index returns it; the searcher encodes its query on the same cores,
which is part of the lag. Text: the documentation of Python on this machine (`weft demo`'s).
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from service import Service

import weft
from weft.integrations.cli.demo_text import documents
from weft.workers import Client


def lag_seconds(index, client, document):
    """Of one passage; and of it, what submitting took."""
    question = document.text[:100]
    started = time.perf_counter()
    client.submit([document])
    submitted = time.perf_counter()
    while not any(hit.id == document.id for hit in index.search(question, k=5)):
        time.sleep(0.002)
    return time.perf_counter() - started, submitted - started


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--passages", type=int, default=200)
    parser.add_argument("--encoder-threads", type=int, default=1)
    given = parser.parse_args()
    texts = documents(given.passages + 1)
    with (
        tempfile.TemporaryDirectory() as folder,
        weft.Index.create(Path(folder) / "index") as index,
        Service(folder, index.path, 1, ["--encoder-threads", given.encoder_threads]) as service,
        Client(index, service.broker) as client,
    ):
        service.warm_up(texts.pop())
        index.search("warm up", 1)
        measured = np.array([lag_seconds(index, client, document) for document in texts])
        print(f"{len(measured)} passages, seconds from submit to found by a search:")
        for name, column in zip(("lag", "of it, submit"), measured.T, strict=True):
            p50, p95, p99 = np.percentile(column, [50, 95, 99])
            print(f"{name:14} p50 {p50:.3f}  p95 {p95:.3f}  p99 {p99:.3f}  max {column.max():.3f}")


if __name__ == "__main__":
    main()
