"""What the training tests share: a small start and examples over a toy collection."""

import pytest
import torch
from checkpoints import plain
from toy_training import PASSAGES, QUERIES, toy_lines, write_lines

from weft.engine.training.data import TrainingData
from weft.engine.training.nway import NWayFile
from weft.engine.training.starting import prepare
from weft.engine.training.texts import TextMapping


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Models this small lose more to threads than they gain."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """A late-interaction start of a random two-layer BERT."""
    folder = tmp_path_factory.mktemp("starts")
    plain(folder / "bert", "bert")
    return prepare(
        folder / "bert",
        folder / "start",
        dim=12,
        sample=list(PASSAGES.values()),
        query_maxlen=16,
        document_maxlen=40,
    )


@pytest.fixture
def data(tmp_path):
    path = write_lines(tmp_path / "nway.jsonl", toy_lines())
    return TrainingData(NWayFile(path), TextMapping(QUERIES), TextMapping(PASSAGES))
