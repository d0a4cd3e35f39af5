"""MaxSim and the losses against NumPy in float64, values and gradients."""

import numpy as np
import pytest
import torch

from weft.engine.training import maxsim as module
from weft.engine.training.distillation import batch_loss, excluded_columns
from weft.engine.training.losses import binary_loss, distillation_loss, in_batch_loss
from weft.engine.training.maxsim import maxsim, pad
from weft.engine.training.settings import TrainingSettings

RANDOM = np.random.default_rng(3)


def unit(*shape):
    rows = RANDOM.standard_normal(shape)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def batch(n_queries=3, n_passages=5, dim=4):
    queries = [unit(n, dim) for n in (4, 2, 3)[:n_queries]]
    passages = [unit(n, dim) for n in (5, 1, 3, 2, 4)[:n_passages]]
    return queries, passages


def plain_maxsim(queries, passages):
    """The definition, in loops."""
    return np.array(
        [[sum(max(q @ p for p in some) for q in one) for some in passages] for one in queries]
    )


def padded(arrays):
    rows = torch.tensor(np.concatenate(arrays), dtype=torch.float64)
    return pad(rows, [len(one) for one in arrays])


def softmax(values):
    weights = np.exp(values - values.max())
    return weights / weights.sum()


def test_maxsim_is_the_sum_of_the_best_dot_products():
    queries, passages = batch()
    found = maxsim(*padded(queries), *padded(passages))
    np.testing.assert_allclose(found.numpy(), plain_maxsim(queries, passages), atol=1e-12)


def test_a_negative_best_match_counts_as_it_is():
    query = np.array([[1.0, 0.0], [0.0, 1.0]])
    passage = np.array([[-1.0, 0.0]])
    found = maxsim(*padded([query]), *padded([passage, query]))
    np.testing.assert_allclose(found.numpy(), [[-1.0, 2.0]])


def test_a_passage_without_vectors_is_refused():
    vectors = torch.zeros(2, 1, 3)
    mask = torch.tensor([[True], [False]])
    with pytest.raises(ValueError, match="no vector"):
        maxsim(vectors, torch.ones(2, 1, dtype=torch.bool), vectors, mask)


@pytest.mark.parametrize("block", [1, 1 << 24])
def test_gradients_of_maxsim_are_those_of_finite_differences(monkeypatch, block):
    monkeypatch.setattr(module, "_BLOCK_VALUES", block)
    queries, passages = batch()
    (q, q_mask), (p, p_mask) = padded(queries), padded(passages)
    q.requires_grad_()
    p.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: maxsim(a, q_mask, b, p_mask), (q, p))
    assert not q.grad


def test_padding_gets_no_gradient():
    queries, passages = batch()
    (q, q_mask), (p, p_mask) = padded(queries), padded(passages)
    q.requires_grad_()
    p.requires_grad_()
    maxsim(q, q_mask, p, p_mask).square().sum().backward()
    assert not q.grad[~q_mask].any() and not p.grad[~p_mask].any()


def test_distillation_is_the_mean_divergence_and_so_is_its_gradient():
    scores, teacher = RANDOM.normal(size=(4, 6)) * 3, RANDOM.normal(size=(4, 6)) * 4
    given = torch.tensor(scores, requires_grad=True)
    loss = distillation_loss(given, torch.tensor(teacher), temperature=2.0, teacher_temperature=3.0)
    loss.backward()
    p = np.array([softmax(row / 3.0) for row in teacher])
    q = np.array([softmax(row / 2.0) for row in scores])
    assert loss.item() == pytest.approx((p * np.log(p / q)).sum() / 4, abs=1e-12)
    np.testing.assert_allclose(given.grad.numpy(), (q - p) / 2.0 / 4, atol=1e-12)


def test_binary_loss_is_cross_entropy_of_the_first():
    scores = RANDOM.normal(size=(4, 6))
    expected = -np.mean([np.log(softmax(row / 0.5)[0]) for row in scores])
    found = binary_loss(torch.tensor(scores), temperature=0.5)
    assert found.item() == pytest.approx(expected, abs=1e-12)


def test_in_batch_negatives_leave_out_what_is_excluded():
    scores = RANDOM.normal(size=(2, 4))
    excluded = np.array([[0, 1, 0, 0], [0, 1, 0, 1]], dtype=bool)
    right = [0, 2]
    expected = -np.mean(
        [
            np.log(softmax(np.where(out, -np.inf, row))[place])
            for row, out, place in zip(scores, excluded, right, strict=True)
        ]
    )
    found = in_batch_loss(torch.tensor(scores), torch.tensor(right), torch.tensor(excluded))
    assert found.item() == pytest.approx(expected, abs=1e-12)


class Line:
    def __init__(self, query, ids, scores):
        self.query_id, self.passage_ids, self.scores = query, ids, scores


class Lines:
    """Three queries of two passages; the first and the third share a passage."""

    examples = (
        Line("1", ("a", "b"), (2.0, -1.0)),
        Line("2", ("c", "d"), (0.5, 0.1)),
        Line("3", ("b", "e"), (3.0, 1.0)),
    )
    excluded = ([0, 1, 0, 0, 1, 0], [0, 0, 0, 1, 0, 0], [0, 1, 0, 0, 0, 1])


class OfOneQuery:
    """Two of the three are of one query: its other positive and negative are no wrong answers."""

    examples = (
        Line("1", ("a", "b"), (2.0, -1.0)),
        Line("2", ("c", "d"), (0.5, 0.1)),
        Line("1", ("e", "f"), (3.0, 1.0)),
    )
    excluded = ([0, 1, 0, 0, 1, 1], [0, 0, 0, 1, 0, 0], [1, 1, 0, 0, 0, 1])


@pytest.mark.parametrize("lines", [Lines, OfOneQuery])
def test_passages_of_the_same_query_are_excluded(lines):
    assert excluded_columns(lines).int().tolist() == list(lines.excluded)


def reference_loss_and_gradient(queries, passages, lines, settings):
    """The whole loss of a batch and its gradient by each vector, by hand."""
    scores = plain_maxsim(queries, passages)
    ways, t = settings.ways, settings.temperature
    excluded = np.array(lines.excluded, dtype=bool)
    by_score = np.zeros_like(scores)
    loss = 0.0
    for n, line in enumerate(lines.examples):
        own = slice(n * ways, (n + 1) * ways)
        student = softmax(scores[n, own] / t)
        if settings.loss == "distil":
            teacher = softmax(np.array(line.scores) / settings.teacher_temperature)
            loss += (teacher * np.log(teacher / student)).sum()
        else:
            teacher = np.eye(ways)[0]
            loss += -np.log(student[0])
        by_score[n, own] += (student - teacher) / t
        other = softmax(np.where(excluded[n], -np.inf, scores[n] / t))
        loss += settings.in_batch * -np.log(other[n * ways])
        by_score[n] += settings.in_batch * (other - np.eye(scores.shape[1])[n * ways]) / t
    count = len(lines.examples)
    gradients = [np.zeros_like(one) for one in (*queries, *passages)]
    for n, query in enumerate(queries):
        for m, passage in enumerate(passages):
            for i, vector in enumerate(query):
                best = int(np.argmax(passage @ vector))
                gradients[n][i] += by_score[n, m] / count * passage[best]
                gradients[len(queries) + m][best] += by_score[n, m] / count * vector
    return loss / count, gradients


@pytest.mark.parametrize("lines", [Lines, OfOneQuery])
@pytest.mark.parametrize("loss", ["distil", "binary"])
def test_the_loss_of_a_batch_and_its_gradient_by_hand(loss, lines):
    settings = TrainingSettings(
        ways=2, loss=loss, temperature=0.7, teacher_temperature=1.3, in_batch=0.6
    )
    queries = [unit(n, 4) for n in (4, 2, 3)]
    passages = [unit(n, 4) for n in (5, 1, 3, 2, 4, 2)]
    rows = [torch.tensor(one, requires_grad=True) for one in (*queries, *passages)]
    found = batch_loss(lines, rows, settings)
    found.backward()
    expected, gradients = reference_loss_and_gradient(queries, passages, lines, settings)
    assert found.item() == pytest.approx(expected, abs=1e-12)
    for row, gradient in zip(rows, gradients, strict=True):
        np.testing.assert_allclose(row.grad.numpy(), gradient, atol=1e-12)
