"""A run: it learns, goes on where it was killed, and caches gradients without changing them."""

import json

import numpy as np
import pytest
import torch
from checkpoints import WORDS
from safetensors.torch import load_file
from toy_training import PASSAGES, QUERIES, toy_lines, write_lines

from weft.engine.encoder import load_encoder
from weft.engine.errors import InvalidTrainingDataError, StorageError, TrainingError
from weft.engine.training.caching import accumulate_gradients
from weft.engine.training.data import TrainingData
from weft.engine.training.distillation import HF_COLBERT, Distillation, batch_loss
from weft.engine.training.nway import NWayFile
from weft.engine.training.settings import TrainingSettings
from weft.engine.training.texts import TextMapping
from weft.engine.training.tracking import TensorBoard
from weft.engine.training.trainable import TrainableEncoder

SETTINGS = TrainingSettings(
    steps=5, batch=3, ways=3, learning_rate=1e-3, warmup=2, save_every=2, dropout=True
)


class Killed(Exception):
    pass


def weights(folder):
    return {
        f"{path.parent.name}/{name}": value
        for path in sorted(folder.rglob("model.safetensors"))
        for name, value in load_file(path).items()
    }


def run(start, data, folder, settings=SETTINGS, **more):
    return Distillation(TrainableEncoder.load(start), data, settings, folder, **more)


@pytest.fixture(scope="module")
def uninterrupted(start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    path = write_lines(folder / "nway.jsonl", toy_lines())
    data = TrainingData(NWayFile(path), TextMapping(QUERIES), TextMapping(PASSAGES))
    return data, weights(run(start, data, folder).run())


@pytest.mark.parametrize("killed_at", [1, 2, 3, 4])
def test_a_killed_run_goes_on_to_the_very_same_weights(start, tmp_path, uninterrupted, killed_at):
    data, expected = uninterrupted

    def kill(report):
        if report.step == killed_at:
            raise Killed

    torch.manual_seed(killed_at)
    with pytest.raises(Killed):
        run(start, data, tmp_path, progress=kill).run()
    torch.manual_seed(99)
    again = run(start, data, tmp_path)
    assert again.step == killed_at - 1 - (killed_at - 1) % SETTINGS.save_every
    found = weights(again.run())
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_training_leaves_the_callers_random_numbers_alone(start, tmp_path, data):
    torch.manual_seed(5)
    expected = torch.rand(3)
    training = run(start, data, tmp_path)
    torch.manual_seed(5)
    training.run(until=1)
    assert torch.equal(torch.rand(3), expected)


def test_another_run_is_not_gone_on_with(start, tmp_path, data):
    run(start, data, tmp_path).run(until=2)
    other = TrainingSettings(**(SETTINGS.to_json() | {"learning_rate": 1e-4}))
    with pytest.raises(TrainingError, match="another learning_rate"):
        run(start, data, tmp_path, other)


def test_corrected_texts_and_another_start_are_another_run(start, tmp_path, data):
    run(start, data, tmp_path).run(until=2)
    corrected = TrainingData(
        data.examples, TextMapping(QUERIES), TextMapping(PASSAGES | {"p3": "cold of a layer"})
    )
    with pytest.raises(TrainingError, match="another data"):
        run(start, corrected, tmp_path)
    encoder = TrainableEncoder.load(start)
    with torch.no_grad():
        # Sums and squares of the weights stay what they are.
        weight = encoder.projections[0].weight
        weight.copy_(weight.flip(0).clone())
    with pytest.raises(TrainingError, match="another start"):
        Distillation(encoder, data, SETTINGS, tmp_path)


def test_how_often_checkpoints_are_kept_may_change(start, tmp_path, uninterrupted):
    data, expected = uninterrupted
    run(start, data, tmp_path).run(until=3)
    # What a kill in the middle of writing left is of a step that is not written again.
    left = tmp_path / "checkpoints" / "step-00000008.part"
    left.mkdir()
    other = TrainingSettings(**(SETTINGS.to_json() | {"save_every": 1}))
    found = weights(run(start, data, tmp_path, other).run())
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not left.exists()


def test_an_interrupted_run_keeps_the_step_it_was_in(start, tmp_path, uninterrupted):
    data, expected = uninterrupted

    def interrupt(report):
        if report.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(start, data, tmp_path, progress=interrupt).run()
    again = run(start, data, tmp_path)
    assert again.step == 3
    found = weights(again.run())
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("full_at", [2, 5])
def test_a_full_disk_is_told_and_the_run_goes_on_from_before(
    start, tmp_path, uninterrupted, full_at
):
    """A limit on the size of files stands for the disk: writes fail just so."""
    import resource

    data, expected = uninterrupted
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(report):
        if report.step == full_at:
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))

    try:
        with pytest.raises(StorageError, match=r"step-0000000. cannot be written.*make room"):
            run(start, data, tmp_path, progress=fill).run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "model").exists()
    assert not list((tmp_path / "checkpoints").glob("*.part"))
    again = run(start, data, tmp_path)
    assert again.step == full_at - full_at % 2 - 2 * (full_at == 2)
    found = weights(again.run())
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_model_of_nobody_knows_what_is_not_overwritten(start, tmp_path, data):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine").write_text("precious")
    with pytest.raises(TrainingError, match="would be overwritten"):
        run(start, data, tmp_path)


def test_a_damaged_checkpoint_is_named(start, tmp_path, data):
    run(start, data, tmp_path).run(until=2)
    place = next((tmp_path / "checkpoints").iterdir())
    content = (place / "weights.safetensors").read_bytes()
    (place / "weights.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(TrainingError, match=f"{place.name} is damaged"):
        run(start, data, tmp_path)


def order_of(encoder, query):
    vectors = encoder.encode_passages(list(PASSAGES.values()))
    question = encoder.encode_queries([QUERIES[query]])[0]
    scores = [(question @ rows.T).max(axis=1).sum() for rows in vectors]
    return [list(PASSAGES)[n] for n in np.argsort(scores)[::-1]]


@pytest.mark.parametrize("loss", ["distil", "binary"])
def test_what_is_taught_is_learnt(start, tmp_path, data, loss):
    """The teacher's best passage was not the start's for all queries; afterwards it is first."""
    settings = TrainingSettings(
        steps=40, batch=5, ways=4, learning_rate=1e-3, warmup=5, loss=loss, dropout=False
    )
    losses = []
    model = run(start, data, tmp_path, settings, progress=lambda r: losses.append(r.loss)).run()
    assert len(losses) == 40 and losses[-1] < losses[0] / 3
    before, after = load_encoder(start), load_encoder(model)
    best = {query: f"p{number}" for number, query in enumerate(QUERIES)}
    assert any(order_of(before, query)[0] != best[query] for query in QUERIES)
    assert all(order_of(after, query)[0] == best[query] for query in QUERIES)
    other = load_encoder(tmp_path / HF_COLBERT)
    for one, two in zip(
        after.encode_queries(list(QUERIES.values())),
        other.encode_queries(list(QUERIES.values())),
        strict=True,
    ):
        np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("most_tokens", [1, 40, 100])
def test_cached_gradients_are_the_gradients(start, data, most_tokens):
    batch = data.batch([(0, 0), (0, 1), (0, 2)], 3, seed=0)

    def gradient(caching, most):
        encoder = TrainableEncoder.load(start).double().train()
        tokens = encoder.tokenization
        sequences = tokens.queries([one.text for one in batch.queries])
        sequences += tokens.passages([one.text for one in batch.passages])
        loss = accumulate_gradients(
            encoder,
            sequences,
            [None] * len(sequences),
            lambda rows: batch_loss(batch, rows, SETTINGS),
            most_tokens=most,
            seed=4,
            precision=lambda: torch.autocast("cpu", enabled=False),
            caching=caching,
        )
        return loss, [parameter.grad for parameter in encoder.parameters()]

    # Equal chunks on both sides: dropout draws by chunk.
    loss, expected = gradient(False, most_tokens)
    cached, found = gradient(True, most_tokens)
    assert cached == pytest.approx(loss, abs=1e-12)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    assert any(bool(one.abs().sum() > 1e-6) for one in expected)


def test_passages_may_be_cut_earlier_while_training(start, tmp_path):
    words = [*WORDS[3:15]]
    long = {f"p{n}": " ".join(words[n:] + words[:n]) for n in range(6)}
    path = write_lines(tmp_path / "n.jsonl", toy_lines())
    found = []
    # Two special tokens and the marker leave five words of eight tokens.
    for texts, cut in ((long, 8), ({id: text[: text.index(text.split()[5])] for id, text
                                    in long.items()}, 0)):  # fmt: skip
        data = TrainingData(NWayFile(path), TextMapping(QUERIES), TextMapping(texts))
        settings = TrainingSettings(**(SETTINGS.to_json() | {"document_tokens": cut}))
        found.append(weights(run(start, data, tmp_path / str(cut), settings).run()))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert load_encoder(tmp_path / "8" / "model").identity.document_maxlen == 40


def test_bf16_learns_too(start, tmp_path, data):
    settings = TrainingSettings(
        steps=15, batch=5, ways=4, learning_rate=1e-3, warmup=2, dtype="bf16", dropout=False
    )
    losses = []
    run(start, data, tmp_path, settings, progress=lambda r: losses.append(r.loss)).run()
    assert losses[-1] < losses[0] / 2


def test_divergence_is_told_with_the_examples(start, tmp_path, data):
    encoder = TrainableEncoder.load(start)
    with torch.no_grad():
        next(encoder.parameters()).fill_(torch.nan)
    with pytest.raises(TrainingError, match=r"step 1 .* diverged .*nway.jsonl, line"):
        Distillation(encoder, data, SETTINGS, tmp_path).run()
    assert not (tmp_path / "model").exists()


def test_distillation_needs_scores_and_binary_labels_do_not(start, tmp_path):
    path = write_lines(tmp_path / "n.jsonl", [["q0", "p0", "p1"], ["q1", "p1", "p2"]])
    data = TrainingData(NWayFile(path, scored=False), TextMapping(QUERIES), TextMapping(PASSAGES))
    few = {"ways": 2, "batch": 2, "steps": 1}
    with pytest.raises(InvalidTrainingDataError, match="line 1 has no scores"):
        run(start, data, tmp_path / "a", TrainingSettings(**few))
    run(start, data, tmp_path / "b", TrainingSettings(**few, loss="binary")).run()


def test_metrics_go_to_tensorboard(start, tmp_path, data):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(start, data, tmp_path, tracker=TensorBoard(tmp_path / "metrics")).run()
    events = EventAccumulator(str(tmp_path / "metrics")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4, 5]
    rates = [event.value for event in events.Scalars("learning_rate")]
    assert rates == pytest.approx([SETTINGS.rate(step) for step in range(5)])


def test_what_a_killed_run_logged_is_shown_once(start, tmp_path, data):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def kill(report):
        if report.step == 4:
            raise Killed

    place = tmp_path / "metrics"
    with pytest.raises(Killed):
        run(start, data, tmp_path, progress=kill, tracker=TensorBoard(place)).run()
    run(start, data, tmp_path, tracker=TensorBoard(place)).run()
    events = EventAccumulator(str(place)).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4, 5]


def test_the_state_of_a_run_is_plain_json_and_safetensors(start, tmp_path, data):
    run(start, data, tmp_path).run(until=4)
    places = sorted((tmp_path / "checkpoints").iterdir())
    assert [place.name for place in places] == ["step-00000002", "step-00000004"]
    assert json.loads((places[1] / "state.json").read_text())["step"] == 4
    assert {path.suffix for path in places[1].iterdir()} == {".json", ".safetensors"}
