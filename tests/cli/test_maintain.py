"""`weft maintain` tells what it did and why, and `weft info` shows what came of it."""

import json

import numpy as np
import pytest
from lineage_tools import DIM, domain, passages

from weft.engine.index import Index
from weft.engine.storage import holding


@pytest.fixture
def index(weft, tmp_path):
    """An index of ready-made embeddings that has outgrown being flat."""
    with Index.create(tmp_path / "vectors", dim=DIM, flat_below_tokens=500) as index:
        rows = passages(domain(1), 60, 1)
        index.add(ids=[f"a{n}" for n in range(60)], embeddings=rows)
    return tmp_path / "vectors"


def test_what_was_done_is_told(weft, index):
    done = weft("maintain", "-i", index)
    assert done.exit_code == 0
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["train", "convert"]
    assert "720 embeddings and no codec" in " ".join(lines[0])
    again = weft("maintain", "-i", index)
    assert again.exit_code == 0 and "Nothing was due" in again.stdout


def test_a_report_for_programs(weft, index):
    report = json.loads(weft("maintain", "-i", index, "--max-steps", 1, "--json").stdout)
    assert [step["name"] for step in report["steps"]] == ["train"]
    assert report["generation"] == 3
    (left,) = report["left"]
    assert left.startswith("convert") and "budget" in left
    shown = weft("maintain", "-i", index, "--seconds", 0)
    assert "budget" in shown.stderr
    report = json.loads(weft("maintain", "-i", index, "--json").stdout)
    assert [step["name"] for step in report["steps"]] == ["convert"] and report["left"] == []


def test_info_shows_epochs_drift_and_space(weft, index, monkeypatch):
    monkeypatch.setattr(holding, "HELD_TOKENS", 0)
    weft("maintain", "-i", index)
    with Index.open(index) as opened:
        opened.add(ids=["b"], embeddings=[np.eye(DIM, dtype=np.float32)])
    stats = json.loads(weft("info", "-i", index, "--json").stdout)["stats"]
    (epoch,) = stats["epochs"]
    assert (epoch["epoch"], epoch["n_segments"], epoch["n_appends"]) == (1, 2, 0)
    assert stats["reclaimable_bytes"] > 0
    text = " ".join(weft("info", "-i", index).stdout.split())
    assert "epoch 1" in text and "1 of them drifted" in text and "awaiting collection" in text
    far = epoch["far_share"]
    assert 0 < far < 1 and f"{far:.1%} of embeddings far (worst 100.0%)" in text
    assert f"skew {epoch['skew']:.2f} (trained {epoch['trained_skew']:.2f})" in text


def test_no_index(weft):
    done = weft("maintain", "-i", "nowhere")
    assert done.exit_code == 1 and "Error:" in done.stderr
