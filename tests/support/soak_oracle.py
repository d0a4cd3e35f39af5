"""What an index under a soak would answer at each of its generations, by brute force."""

from functools import cache

import numpy as np
from modelled_index import TOLERANCE, Entry, ModelledIndex, maxsim
from soaking import N_FIRST_IDS, N_IDS, K, queries, rows_of

from weft.engine.codec import Codec
from weft.engine.documents import Document


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

    def check(self, answers):
        """Each answer is that of a generation between start and end of the call."""
        for line in answers:
            span = range(line["before"], line["after"] + 1)
            asked = line["kind"], line["number"], line["answer"]
            assert any(self.gives(generation, *asked) for generation in span), line
