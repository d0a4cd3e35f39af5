"""Two readers and a writer on one index: every answer is that of some generation."""

import json
import multiprocessing
import shutil
from pathlib import Path

import campaigns
import pytest
from modelled_index import DIM, maxsim
from scratch import scratch_folder
from soaking import N_IDS, K, Soak, queries, read, rows_of, write

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
        ids = [f"d{n}" for n in range(N_IDS)]
        index.add(
            ["version 0"] * N_IDS,
            ids=ids,
            metadata=[{"even": True}] * N_IDS,
            embeddings=[rows_of(id, 0) for id in ids],
        )
    logs = run(path, folder)
    oracle = Oracle(logs["writer"])
    counts = [check(oracle, logs[f"reader-{n}"]) for n in range(N_READERS)]
    assert len(oracle.generations) > 20 and min(counts) > 100
    campaigns.report(
        "soak",
        [
            (f"seconds of {N_READERS} readers and a writer", SECONDS),
            ("generations", len(oracle.generations)),
            ("answers compared", sum(counts)),
            ("codecs", oracle.n_codecs),
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


class Oracle:
    """What each generation held, from the writer's log; those between are its maintenance."""

    def __init__(self, log):
        self.tolerance = 1e-4 + 3 * max(
            (line["error"] for line in log if "codec" in line), default=0
        )
        self.n_codecs = sum("codec" in line for line in log)
        held = {f"d{n}": 0 for n in range(N_IDS)}
        self.generations = {2: held}
        for line in log:
            if "generation" in line:
                held = {id: v for id, v in held.items() if id not in line["delete"]} | line["put"]
                self.generations[line["generation"]] = held
        self._scores = {}

    def held(self, generation):
        """The version of each id."""
        while generation not in self.generations:
            generation -= 1
        return self.generations[generation]

    def score(self, query, id, version):
        """MaxSim of a version with its float32 vectors, computed once."""
        key = (query, id, version)
        if key not in self._scores:
            self._scores[key] = maxsim(queries()[query], rows_of(id, version))
        return self._scores[key]

    def gives(self, generation, kind, number, answer):
        """Whether a generation would answer so."""
        held = self.held(generation)
        if kind == "get":
            return answer == [held.get(f"d{n}") for n in range(N_IDS)]
        if kind == "ids":
            return answer == sorted(held)
        if kind == "count":
            return answer == len(held)
        wanted = {id: v for id, v in held.items() if kind == "search" or v % 2 == 0}
        return self._ranks(number, wanted, answer)

    def _ranks(self, number, wanted, answer):
        """The best of the wanted versions, with the scores that their codes may give."""
        if len(answer) != min(K, len(wanted)):
            return False
        if len({id for id, _, _ in answer}) < len(answer):
            return False
        for id, version, score in answer:
            exact = self.score(number, id, version)
            if wanted.get(id) != version or abs(score - exact) > self.tolerance:
                return False
        last = min((score for _, _, score in answer), default=0)
        found = {id for id, _, _ in answer}
        return all(
            self.score(number, id, version) <= last + 2 * self.tolerance
            for id, version in wanted.items()
            if id not in found
        )


def check(oracle, log):
    """Compare all answers of a reader; how many there were."""
    pinned, *answers = log
    for key, answer in pinned["answers"].items():
        kind, _, number = key.rpartition(" ")
        assert oracle.gives(pinned["pinned"], kind, int(number), answer)
    for line in answers:
        span = range(line["before"], line["after"] + 1)
        asked = line["kind"], line["number"], line["answer"]
        assert any(oracle.gives(generation, *asked) for generation in span), line
    return len(answers) + len(pinned["answers"])
