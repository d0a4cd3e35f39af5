"""Two readers and a writer on one index: every answer is that of some generation."""

import json
import multiprocessing
import shutil
from functools import cache
from pathlib import Path

import campaigns
import numpy as np
import pytest
from modelled_index import DIM, TOLERANCE, Entry, ModelledIndex, maxsim
from scratch import scratch_folder
from soaking import N_FIRST_IDS, N_IDS, K, Soak, queries, read, rows_of, write

from weft import Index
from weft.engine.codec import Codec
from weft.engine.documents import Document

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


class Oracle:
    """What each generation held, from the writer's log; those between are its maintenance."""

    def __init__(self, log, codecs):
        self.model = ModelledIndex(grid=False)
        for path in codecs:
            _, _, epoch, n_centroids, id, _ = path.name.split(".")
            with np.load(path) as tensors:
                codec = Codec.from_tensors(dict(tensors))
            self.model.learn_codec(id, (int(epoch), int(n_centroids)), codec)
        held = {f"d{n}": 0 for n in range(N_FIRST_IDS)}
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

    def scores(self, query, id, version):
        """MaxSim with what may be stored of a version, by each way; computed once."""
        key = (query, id, version)
        if key not in self._scores:
            ways = self.model.ways(self.entry(id, version), flat=False)
            self._scores[key] = np.array([maxsim(queries()[query], way[0]) for way in ways])
        return self._scores[key]

    @cache  # noqa: B019 it lives as long as the test
    def entry(self, id, version):
        text = f"version {version}"
        return Entry(Document(id, text), (rows_of(id, version),), ((0, len(text)),))

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
        """The best of the wanted versions, in order, with scores that their codes may give."""
        found = {id for id, _, _ in answer}
        if not len(answer) == len(found) == min(K, len(wanted)):
            return False
        for id, version, score in answer:
            if wanted.get(id) != version:
                return False
            if np.abs(self.scores(number, id, version) - score).min() > TOLERANCE:
                return False
        scores = [score for _, _, score in answer]
        lowest = min(scores, default=0) + TOLERANCE
        return scores == sorted(scores, reverse=True) and all(
            self.scores(number, id, version).min() <= lowest
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
