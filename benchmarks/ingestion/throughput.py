"""Throughput at bulk and at a trickle, and what all but encoding costs.

    python benchmarks/ingestion/throughput.py [--passages 2000] [--producers 100] [--rounds 3]

Three ways to bring the same passages into an index, in turn, several rounds of them:

    encode   the encoder's forward pass alone, in this process, with as many threads
    bulk     one submission of 256 passages after the other, until all are committed
    trickle  submissions of one passage each, by so many producers at once

Passages per second of each, medians; trickle as a share of bulk; and the share of bulk's time that
is not encoding. One worker of one process, MiniLM, one encoder thread unless told otherwise: the
two processes that a worker has by default encode two batches at once, so that only one tells what
is not encoding.
"""

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from service import Service

import weft
from weft.integrations.cli.demo_text import documents
from weft.workers import Client

BULK = 256


def encode_seconds(encoder, texts, threads):
    """The forward pass of all, as the worker batches them."""
    torch.set_num_threads(threads)
    started = time.perf_counter()
    for first in range(0, len(texts), BULK):
        encoder.encode_passages([document.text for document in texts[first : first + BULK]])
    return time.perf_counter() - started


def bulk_seconds(service, texts):
    """From the first submit to the last commit."""
    started = time.perf_counter()
    with Client(service.index, service.broker) as client:
        for first in range(0, len(texts), BULK):
            last = client.submit(texts[first : first + BULK])
        client.wait(last)
    service.drained()
    return time.perf_counter() - started


def trickle_seconds(service, texts, n_producers):
    """Likewise, one passage a submission."""
    with Client(service.index, service.broker) as client:
        started = time.perf_counter()

        def produce(number):
            for document in texts[number::n_producers]:
                client.submit([document])

        threads = [threading.Thread(target=produce, args=(n,)) for n in range(n_producers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        service.drained()
        return time.perf_counter() - started


def measured(service, encoder, texts, given):
    """One round."""
    return (
        encode_seconds(encoder, texts, given.encoder_threads),
        bulk_seconds(service, texts),
        trickle_seconds(service, texts, given.producers),
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--passages", type=int, default=2000)
    parser.add_argument("--producers", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--encoder-threads", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1)
    given = parser.parse_args()
    texts = documents(given.passages + 1)
    first = texts.pop()
    options = ["--concurrency", given.processes, "--encoder-threads", given.encoder_threads]
    with (
        tempfile.TemporaryDirectory() as folder,
        weft.Index.create(Path(folder) / "index") as index,
        Service(folder, index.path, 1, options) as service,
    ):
        service.warm_up(first)
        rounds = [measured(service, index.encoder, texts, given) for _ in range(given.rounds)]
    encode, bulk, trickle = np.median(np.array(rounds), axis=0)
    for name, seconds in (("encode", encode), ("bulk", bulk), ("trickle", trickle)):
        print(f"{name:8} {len(texts) / seconds:8.1f} passages/s")
    print(f"trickle reaches {bulk / trickle:.0%} of bulk")
    print(f"{1 - encode / bulk:.0%} of bulk is not encoding")
    spread = " ".join(f"{b:.1f}/{t:.1f}" for _, b, t in rounds)
    print(f"bulk/trickle seconds of each round: {spread}")


if __name__ == "__main__":
    main()
