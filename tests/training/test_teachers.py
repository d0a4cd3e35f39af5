"""Teachers score as plain `transformers` calls do, learn their lists, and may not collapse."""

import numpy as np
import pytest
import torch
from checkpoints import plain, random_model, randomise, write_tokenizer
from toy_training import PASSAGES, QUERIES, toy_lines, write_lines
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
)

from weft.engine.errors import (
    CheckpointError,
    InvalidParameterError,
    InvalidTrainingDataError,
    TrainingError,
)
from weft.engine.training.cross_encoder import CrossEncoder
from weft.engine.training.data import TrainingData
from weft.engine.training.nway import NWayFile
from weft.engine.training.scoring import score_examples, score_file
from weft.engine.training.settings import TrainingSettings
from weft.engine.training.teachers import Blend, MaxSimTeacher, PooledTeacher
from weft.engine.training.teaching import TeacherTraining, listwise_loss, pairwise_loss
from weft.engine.training.texts import TextMapping

TEXTS = list(PASSAGES.values())


def classifier(folder, outputs):
    model, tokenizer = random_model("bert")
    config = model.config
    config.num_labels = outputs
    torch.manual_seed(2)
    randomise(BertForSequenceClassification(config)).save_pretrained(folder)
    write_tokenizer(folder, tokenizer, "bert")
    return folder


@pytest.mark.parametrize("outputs", [1, 2])
def test_scores_are_the_logits_of_plain_calls(tmp_path, outputs):
    folder = classifier(tmp_path / "c", outputs)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected = []
    for text in TEXTS:
        inputs = tokenizer(
            QUERIES["q0"], text, truncation="only_second", max_length=20, return_tensors="pt"
        )
        with torch.no_grad():
            logits = model(**inputs).logits[0]
        expected.append(float(logits[0] if outputs == 1 else logits[1] - logits[0]))
    found = CrossEncoder.load(folder, max_tokens=20).score(QUERIES["q0"], TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_long_query_leaves_half_to_the_passage(tmp_path):
    """Queries that are documents themselves would leave nothing of the passage."""
    folder = classifier(tmp_path / "c", 1)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    line = "the weft is woven over the loom thread by thread and the wing has lift"

    def numbers(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    assert len(numbers(line)) > 18
    expected = []
    for text in TEXTS:
        first = [tokenizer.cls_token_id, *numbers(line)[:10], tokenizer.sep_token_id]
        second = [*numbers(text)[:7], tokenizer.sep_token_id]
        kinds = [0] * len(first) + [1] * len(second)
        with torch.no_grad():
            logits = model(
                input_ids=torch.tensor([first + second]), token_type_ids=torch.tensor([kinds])
            ).logits
        expected.append(float(logits[0, 0]))
    found = CrossEncoder.load(folder, max_tokens=20).score(line, TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_pairs_are_never_longer_than_the_positions(tmp_path):
    folder = classifier(tmp_path / "c", 1)
    long = " ".join(["the loom"] * 2000)
    found = CrossEncoder.load(folder, max_tokens=5000).score(long, [long, "wing"])
    assert np.isfinite(found).all()
    with pytest.raises(InvalidParameterError, match="max_tokens is 2"):
        CrossEncoder.load(folder, max_tokens=2)
    with pytest.raises(InvalidParameterError, match="cuda:99"):
        CrossEncoder.load(folder, device="cuda:99")


def test_what_is_no_cross_encoder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="3 outputs"):
        CrossEncoder.load(classifier(tmp_path / "three", 3))
    with pytest.raises(CheckpointError, match="no cross-encoder"):
        CrossEncoder.load(plain(tmp_path / "plain").folder)
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        CrossEncoder.load(tmp_path / "absent")


def test_losses_are_those_of_numpy():
    scores = np.random.default_rng(0).normal(size=(3, 4))
    weights = np.exp(scores)
    listwise = -np.log(weights[:, 0] / weights.sum(axis=1)).mean()
    pairwise = np.log1p(np.exp(scores[:, 1:] - scores[:, :1])).mean()
    assert listwise_loss(torch.tensor(scores)).item() == pytest.approx(listwise, abs=1e-12)
    assert pairwise_loss(torch.tensor(scores)).item() == pytest.approx(pairwise, abs=1e-12)


class Killed(Exception):
    pass


@pytest.mark.parametrize("kind", ["listwise", "pairwise"])
def test_a_teacher_learns_its_lists_also_when_killed(tmp_path, data, kind):
    folder = plain(tmp_path / "bert").folder
    settings = TrainingSettings(
        steps=40, batch=5, ways=4, learning_rate=3e-3, warmup=4, save_every=10, dropout=False
    )

    def run(name, **more):
        return TeacherTraining(folder, data, settings, tmp_path / name, kind=kind, **more)

    def kill(report):
        if report.step == 25:
            raise Killed

    place = run("whole").run()
    with pytest.raises(Killed):
        run("killed", progress=kill).run()
    again = run("killed")
    assert again.step == 20
    again.run()
    teacher = CrossEncoder.load(place)
    other = CrossEncoder.load(tmp_path / "killed" / "teacher")
    for number, query in enumerate(QUERIES.values()):
        listed = [TEXTS[(number + step) % len(TEXTS)] for step in range(4)]
        scores = teacher.score(query, listed)
        assert scores.argmax() == 0
        np.testing.assert_array_equal(scores, other.score(query, listed))


def test_pooled_and_maxsim_teachers(tmp_path, start):
    folder = plain(tmp_path / "bert").folder
    from transformers import AutoModel

    model, tokenizer = (
        AutoModel.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )

    def pooled(text):
        with torch.no_grad():
            rows = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        mean = rows.mean(dim=0).numpy()
        return mean / np.linalg.norm(mean)

    expected = [pooled(QUERIES["q1"]) @ pooled(text) for text in TEXTS]
    found = PooledTeacher(folder).score(QUERIES["q1"], TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    from weft.engine.encoder import load_encoder

    encoder = load_encoder(start)
    question = encoder.encode_queries([QUERIES["q1"]])[0]
    expected = [(question @ rows.T).max(axis=1).sum() for rows in encoder.encode_passages(TEXTS)]
    np.testing.assert_allclose(
        MaxSimTeacher(encoder).score(QUERIES["q1"], TEXTS), expected, atol=2e-2
    )
    few = MaxSimTeacher(encoder, kept=2)
    for texts in (TEXTS[:3], TEXTS[2:], TEXTS):
        places = [TEXTS.index(text) for text in texts]
        found = few.score(QUERIES["q1"], texts)
        np.testing.assert_allclose(found, np.array(expected)[places], atol=2e-2)


class Fixed:
    def __init__(self, *scores):
        self.scores = np.array(scores, dtype=np.float32)

    def score(self, query, texts):
        return self.scores[: len(texts)]


def test_a_blend_is_the_weighted_mean_of_standard_scores():
    one, other = [1.0, 2.0, 4.0], [300.0, -100.0, 0.0]
    standard = [(np.array(s) - np.mean(s)) / np.std(s) for s in (one, other)]
    blend = Blend([(Fixed(*one), 3.0), (Fixed(*other), 1.0)], scale=2.0)
    expected = 2 * (0.75 * standard[0] + 0.25 * standard[1])
    np.testing.assert_allclose(blend.score("q", ["a", "b", "c"]), expected, atol=1e-6)
    np.testing.assert_array_equal(Blend([(Fixed(5, 5), 1.0)]).score("q", ["a", "b"]), [0, 0])
    with pytest.raises(InvalidParameterError):
        Blend([])
    with pytest.raises(TrainingError, match="NaN"):
        Blend([(Fixed(np.nan, 1), 1.0)]).score("q", ["a", "b"])


def test_scores_are_put_into_examples(data):
    class ByLength:
        def score(self, query, texts):
            return np.array([len(text) for text in texts], dtype=np.float32)

    found = score_examples(data, ByLength(), positive_bonus=0.5)
    for example, given in zip(found, data.examples, strict=True):
        assert example.passage_ids == given.passage_ids
        lengths = [float(len(PASSAGES[id])) for id in example.passage_ids]
        assert list(example.scores) == [lengths[0] + 0.5, *lengths[1:]]


class ByLength:
    """Counts what it is asked, and is killed after some questions."""

    def __init__(self, killed_after=99):
        self.asked, self.killed_after = [], killed_after

    def score(self, query, texts):
        if len(self.asked) == self.killed_after:
            raise Killed
        self.asked.append(query)
        return np.array([len(text) for text in texts], dtype=np.float32)


@pytest.mark.parametrize("torn", [0, 5])
def test_scoring_goes_on_where_it_was_killed(tmp_path, data, torn):
    path = tmp_path / "scored.jsonl"
    with pytest.raises(Killed):
        score_file(data, ByLength(killed_after=3), path, positive_bonus=0.5, told={"t": 1})
    assert not path.exists()
    part = tmp_path / "scored.jsonl.part"
    part.write_bytes(part.read_bytes()[: -torn or None])
    second = ByLength()
    count = score_file(data, second, path, positive_bonus=0.5, told={"t": 1})
    assert second.asked == list(QUERIES.values())[3 - bool(torn) :]
    expected = score_examples(data, ByLength(), positive_bonus=0.5)
    found = [(one.query_id, one.passage_ids, one.scores) for one in NWayFile(path)]
    assert found == [(one.query_id, one.passage_ids, one.scores) for one in expected]
    assert count == len(expected) and sorted(p.name for p in tmp_path.glob("scored*")) == [
        "scored.jsonl"
    ]


def test_what_another_teacher_scored_is_not_gone_on_with(tmp_path, data):
    path = tmp_path / "scored.jsonl"
    with pytest.raises(Killed):
        score_file(data, ByLength(killed_after=3), path, told={"t": 1})
    other = ByLength()
    score_file(data, other, path, told={"t": 2})
    assert len(other.asked) == len(QUERIES)


@pytest.mark.parametrize(
    ("teacher", "error", "what"),
    [
        (Fixed(2, 2, 2, 2), InvalidTrainingDataError, r"line 1: .* collapsed"),
        (Fixed(1, np.nan, 0, 0), TrainingError, "line 1: the teacher gave NaN"),
    ],
)
def test_a_teacher_that_says_nothing_is_told_with_the_line(data, teacher, error, what):
    with pytest.raises(error, match=what):
        score_examples(data, teacher, positive_bonus=3.0)


def test_a_list_or_two_that_is_scored_alike_is_left_out(tmp_path):
    path = write_lines(tmp_path / "n.jsonl", toy_lines())
    data = TrainingData(NWayFile(path), TextMapping(QUERIES), TextMapping(PASSAGES))

    class MostlyFine:
        def score(self, query, texts):
            same = query == QUERIES["q2"]
            return np.array([0.0 if same else float(len(t)) for t in texts], dtype=np.float32)

    assert [one.query_id for one in score_examples(data, MostlyFine())] == ["q0", "q1", "q3", "q4"]
