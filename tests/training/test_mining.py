"""Mining: negatives come from the index, never from what is judged relevant."""

import numpy as np
import pytest
from checkpoints import plain
from toy_training import PASSAGES, QUERIES, write_lines

import weft
from weft.engine.errors import InvalidParameterError, InvalidTrainingDataError
from weft.engine.training.mining import MiningSettings, mine
from weft.engine.training.nway import NWayFile
from weft.engine.training.rounds import keep_mined
from weft.engine.training.starting import prepare
from weft.engine.training.texts import Texts


@pytest.fixture(scope="module")
def index(tmp_path_factory, start):
    folder = tmp_path_factory.mktemp("mining") / "index"
    with weft.Index.create(folder, encoder=start) as index:
        long = " ".join(PASSAGES.values())
        index.add([*PASSAGES.values(), long], ids=[*PASSAGES, "long"])
        yield index


def brute_force(start, query, documents):
    """Passages by MaxSim in NumPy, best first, as (document, ordinal, text)."""
    encoder = weft.load_encoder(start)
    question = encoder.encode_queries([query])[0]
    found = []
    for id, text in documents.items():
        for ordinal, (a, b) in enumerate(encoder.split(text)):
            rows = encoder.encode_passages([text[a:b]])[0]
            found.append(((question @ rows.T).max(axis=1).sum(), id, ordinal, text[a:b]))
    return sorted(found, key=lambda one: -one[0])


class Counting:
    """A teacher that likes long texts."""

    def score(self, query, texts):
        return np.array([len(text) / 10 for text in texts], dtype=np.float32)


def test_negatives_are_the_best_that_are_not_judged_relevant(index, start):
    documents = {**PASSAGES, "long": " ".join(PASSAGES.values())}
    judged = {"q0": {"p0": 1, "p5": 2, "p1": 0}}
    settings = MiningSettings(depth=50, negatives=50)
    found = list(mine(index, QUERIES, judged, settings=settings))
    ranked = brute_force(start, QUERIES["q0"], documents)
    negatives = [f"{id}#{n}" for _, id, n, _ in ranked if id not in ("p0", "p5")]
    assert [one.example.passage_ids[0] for one in found] == ["p5#0", "p0#0"]
    assert any(id.startswith("long#") for id in negatives)
    for one in found:
        assert sorted(one.example.passage_ids[1:]) == sorted(negatives)
        texts = {f"{id}#{n}": text for _, id, n, text in ranked}
        assert one.passages == {id: texts[id] for id in one.example.passage_ids}


def test_what_reads_like_the_positive_or_the_query_is_no_negative(start, tmp_path):
    """Collections hold documents twice; a copy of the right answer is no wrong one."""
    copies = {
        "copy": " ".join(PASSAGES["p1"].upper().split(" ")),
        "echo": QUERIES["q1"],
        "p3 again": PASSAGES["p3"] + " ",
    }
    with weft.Index.create(tmp_path / "i", encoder=start) as index:
        index.add([*PASSAGES.values(), *copies.values()], ids=[*PASSAGES, *copies])
        settings = MiningSettings(depth=50, negatives=50)
        one = next(mine(index, QUERIES, {"q1": {"p1": 1}}, settings=settings))
    positive, *negatives = (id.partition("#")[0] for id in one.example.passage_ids)
    assert positive == "p1"
    assert sorted({"p3" if id == "p3 again" else id for id in negatives}) == [
        "p0", "p2", "p3", "p4", "p5",
    ]  # fmt: skip
    assert len(negatives) == 5


def test_half_are_the_best_and_the_rest_is_drawn(index):
    judged = {"q1": {"p1": 1}}
    everything = next(
        mine(index, QUERIES, judged, settings=MiningSettings(depth=50, negatives=50, skip=1))
    ).example.passage_ids[1:]
    few = {
        next(
            mine(
                index,
                QUERIES,
                judged,
                settings=MiningSettings(depth=50, negatives=4, skip=1, seed=seed),
            )
        ).example.passage_ids[1:]
        for seed in range(10)
    }
    assert all(ids[:2] == everything[:2] and len(ids) == 4 for ids in few)
    assert all(set(ids) <= set(everything) for ids in few) and len(few) > 1


def test_a_positive_that_was_not_retrieved_is_its_best_passage(index, start):
    ranked = brute_force(start, QUERIES["q2"], {"long": " ".join(PASSAGES.values())})
    settings = MiningSettings(depth=1, negatives=1)
    last = brute_force(start, QUERIES["q2"], PASSAGES)[-1][1]
    for document, wanted in (("long", f"long#{ranked[0][2]}"), (last, f"{last}#0")):
        found = list(mine(index, QUERIES, {"q2": {document: 1}}, settings=settings))
        assert not found or found[0].example.passage_ids[0] == wanted


def test_a_teacher_scores_and_its_favourites_are_no_negatives(index):
    settings = MiningSettings(depth=50, negatives=50, margin=0.2)
    judged = {"q3": {"p1": 1}}
    teacher = Counting()
    example = next(mine(index, QUERIES, judged, settings=settings, teacher=teacher)).example
    assert example.scores[0] == pytest.approx(len(PASSAGES["p1"]) / 10)
    assert len(example.scores) == len(example.passage_ids) > 1
    assert all(score <= example.scores[0] - 0.2 for score in example.scores[1:])


def test_queries_without_a_document_in_the_index_give_nothing(index, tmp_path):
    assert list(mine(index, QUERIES, {"q0": {"elsewhere": 1}, "q1": {"p1": 0}})) == []
    with pytest.raises(InvalidTrainingDataError, match="'q9'"):
        list(mine(index, QUERIES, {"q9": {"p0": 1}}))
    with pytest.raises(InvalidTrainingDataError, match="no example"):
        keep_mined(tmp_path, [])
    assert not list(tmp_path.iterdir())


def test_languages_of_queries_and_passages_are_kept(tmp_path):
    plain(tmp_path / "xmod", "xmod")
    start = prepare(tmp_path / "xmod", tmp_path / "s", dim=8, sample=list(PASSAGES.values()))
    lines = [{"_id": id, "text": text, "language": "de"} for id, text in QUERIES.items()]
    queries = Texts(write_lines(tmp_path / "q.jsonl", lines))
    documents = [
        weft.Document(id, text, language="zh" if id == "p0" else None)
        for id, text in PASSAGES.items()
    ]
    with weft.Index.create(tmp_path / "i", encoder=start) as index:
        index.add(documents)
        keep_mined(tmp_path, mine(index, queries, {"q1": {"p1": 1}}))
        vectors = weft.load_encoder(start).encode_queries([QUERIES["q1"]], languages=["de"])[0]
        found = [hit.id for hit in index.search(vectors, 10) if hit.id != "p1"]
        assert found != [hit.id for hit in index.search(QUERIES["q1"], 10) if hit.id != "p1"]
    example = NWayFile(tmp_path / "mined.jsonl", scored=False)[0]
    assert [id.partition("#")[0] for id in example.passage_ids] == ["p1", *found]
    passages = Texts(tmp_path / "passages.jsonl")
    assert {id: passages.record(id).language for id in ("p0#0", "p1#0")} == {
        "p0#0": "zh",
        "p1#0": None,
    }


def test_what_is_kept_can_be_trained_on(index, tmp_path):
    count = keep_mined(tmp_path, mine(index, QUERIES, {q: {f"p{q[1]}": 1} for q in QUERIES}))
    examples = list(NWayFile(tmp_path / "mined.jsonl", scored=False))
    assert count == len(examples) == len(QUERIES)
    wanted = {id for one in examples for id in one.passage_ids}
    texts = Texts(tmp_path / "passages.jsonl")
    assert set(texts) == wanted
    assert {texts[id] for id in wanted if not id.startswith("long")} <= set(PASSAGES.values())


@pytest.mark.parametrize(
    "bad",
    [{"depth": 0}, {"negatives": 0}, {"skip": 100}, {"skip": -1}, {"margin": float("nan")}],
)
def test_settings_out_of_range(bad):
    with pytest.raises(InvalidParameterError):
        MiningSettings(**bad)
