"""Two readers and a writer on one index: every answer is that of some generation."""

import json
import multiprocessing
import shutil
from pathlib import Path

import campaigns
import pytest
from modelled_index import DIM
from scratch import scratch_folder
from soak_oracle import Oracle
from soaking import N_FIRST_IDS, Soak, read, rows_of, write

from weft import Index

SECONDS = campaigns.size(5, 300)
N_READERS = 2


@pytest.fixture
def folder():
    folder = scratch_folder()
    yield folder
    shutil.rmtree(folder)


def test_readers_beside_a_writer(folder):
    path = str(folder / "index")
    with Index.create(path, dim=DIM, bits=8, flat_below_tokens=100) as index:
        ids = [f"d{n}" for n in range(N_FIRST_IDS)]
        index.add(
            ["version 0"] * len(ids),
            ids=ids,
            metadata=[{"even": True}] * len(ids),
            embeddings=[rows_of(id, 0) for id in ids],
        )
    logs = run(path, folder)
    codecs = sorted(folder.glob("writer.log.*.npz"))
    oracle = Oracle(logs["writer"], codecs)
    counts = [check(oracle, logs[f"reader-{n}"]) for n in range(N_READERS)]
    assert len(oracle.generations) > 20 and min(counts) > 100
    campaigns.report(
        "soak",
        [
            (f"seconds of {N_READERS} readers and a writer", SECONDS),
            ("generations", len(oracle.generations)),
            ("answers compared", sum(counts)),
            ("codecs", len(codecs)),
        ],
    )


def run(path, folder):
    context = multiprocessing.get_context("spawn")
    names = ["writer", *(f"reader-{n}" for n in range(N_READERS))]
    soaks = [Soak(path, str(folder / f"{name}.log"), name, SECONDS) for name in names]
    processes = [
        context.Process(target=write if soak.name == "writer" else read, args=(soak,))
        for soak in soaks
    ]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    finally:
        for process in processes:
            process.kill()
            process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)
    return {soak.name: lines(soak.log) for soak in soaks}


def lines(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def check(oracle, log):
    """Compare all answers of a reader; how many there were."""
    pinned, *answers = log
    for key, answer in pinned["answers"].items():
        kind, _, number = key.rpartition(" ")
        assert oracle.gives(pinned["pinned"], kind, int(number), answer)
    oracle.check(answers)
    return len(answers) + len(pinned["answers"])
