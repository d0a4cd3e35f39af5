"""Two processes give the weights of one; each language trains an adapter of its own."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
from checkpoints import plain
from safetensors.torch import load_file
from toy_training import PASSAGES, QUERIES, toy_lines, write_lines

from weft.engine.training.data import TrainingData
from weft.engine.training.distillation import Distillation
from weft.engine.training.nway import NWayFile
from weft.engine.training.settings import TrainingSettings
from weft.engine.training.starting import prepare
from weft.engine.training.texts import Texts, write_texts
from weft.engine.training.trainable import TrainableEncoder

# Without in-batch negatives, which stay within a process, the mean over processes is the mean.
SETTINGS = {"steps": 3, "batch": 4, "ways": 3, "learning_rate": 1e-3, "warmup": 1,
            "in_batch": 0, "dropout": False}  # fmt: skip

SCRIPT = """
import json, os, sys
from pathlib import Path
import torch
from transformers import BertModel
from weft.engine.training.data import TrainingData
from weft.engine.training.distillation import Distillation
from weft.engine.training.nway import NWayFile
from weft.engine.training.processes import find_processes
from weft.engine.training.settings import TrainingSettings
from weft.engine.training.texts import Texts
from weft.engine.training.trainable import TrainableEncoder

torch.set_num_threads(1)
# What takes long is imported by now; nothing has been computed that a fork would break.
other = os.fork()
os.environ["RANK"] = os.environ["LOCAL_RANK"] = "0" if other else "1"
folder, start = Path(sys.argv[1]), sys.argv[2]
processes = find_processes("cpu")
assert processes.count == 2
data = TrainingData(
    NWayFile(folder / "n.jsonl"), Texts(folder / "q.jsonl"), Texts(folder / "p.jsonl")
)
settings = TrainingSettings(**json.loads(sys.argv[3]))
encoder = TrainableEncoder.load(start)
Distillation(encoder, data, settings, folder / "two", processes=processes).run()
if other:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]))
"""


def toy_files(folder):
    write_lines(folder / "n.jsonl", toy_lines())
    write_texts(folder / "q.jsonl", QUERIES)
    write_texts(folder / "p.jsonl", PASSAGES)
    return TrainingData(
        NWayFile(folder / "n.jsonl"), Texts(folder / "q.jsonl"), Texts(folder / "p.jsonl")
    )


def launched(folder, start):
    """Run the script, with what a launcher tells its processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    done = subprocess.run(
        [sys.executable, "script.py", str(folder), str(start), json.dumps(SETTINGS)],
        cwd=folder,
        env={**os.environ, **told},
        stderr=subprocess.PIPE,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_two_processes_train_as_one_does(tmp_path, start):
    data = toy_files(tmp_path)
    one = Distillation(
        TrainableEncoder.load(start), data, TrainingSettings(**SETTINGS), tmp_path / "one"
    ).run()
    (tmp_path / "script.py").write_text(SCRIPT)
    launched(tmp_path, start)
    for name in ("model.safetensors", "1_Dense/model.safetensors"):
        expected = load_file(one / name)
        found = load_file(tmp_path / "two" / "model" / name)
        before = load_file(Path(start) / name)
        for key, value in expected.items():
            if key.endswith("key.bias"):
                # It moves all of a query's logits alike: its gradient is rounding, and Adam makes
                # steps of full length of that.
                continue
            torch.testing.assert_close(found[key], value, rtol=1e-4, atol=2e-6)
        assert any(not torch.equal(before[key], expected[key]) for key in expected)


def test_each_passage_goes_through_the_adapter_of_its_language(tmp_path):
    plain(tmp_path / "xmod", "xmod")
    start = prepare(tmp_path / "xmod", tmp_path / "start", dim=8, projection="orthogonal",
                    query_maxlen=16, document_maxlen=40)  # fmt: skip
    toy_files(tmp_path)
    lines = [{"_id": id, "text": text, "language": "de"} for id, text in PASSAGES.items()]
    write_lines(tmp_path / "p.jsonl", lines)
    data = TrainingData(
        NWayFile(tmp_path / "n.jsonl"), Texts(tmp_path / "q.jsonl"), Texts(tmp_path / "p.jsonl")
    )
    settings = TrainingSettings(**SETTINGS)
    model = Distillation(TrainableEncoder.load(start), data, settings, tmp_path / "run").run()
    before, after = (load_file(place / "model.safetensors") for place in (start, model))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    adapters = {name for name in before if "adapter_modules" in name}
    assert adapters and any("word_embeddings" in name for name in changed)
    # Queries have no language, and so the default one; nothing was Chinese.
    for language, trained in (("en_XX", True), ("de_DE", True), ("zh_CN", False)):
        own = {name for name in adapters if language in name}
        assert own and bool(own & changed) is trained
