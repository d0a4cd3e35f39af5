"""The command line in this process, with an encoder that costs nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result
from word_encoder import WordEncoder

from weft.integrations.cli.app import app

Run = Callable[..., Result]


@pytest.fixture
def weft(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command line in an empty folder."""
    monkeypatch.setattr("weft.engine.encoder.load_encoder", lambda *_, **__: WordEncoder())
    monkeypatch.chdir(tmp_path)
    for name in ("WEFT_INDEX", "WEFT_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    runner = CliRunner()
    return lambda *arguments: runner.invoke(app, [str(a) for a in arguments])


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A folder of three documents in three formats."""
    folder = tmp_path / "docs"
    (folder / "deep").mkdir(parents=True)
    (folder / "ferry.md").write_text("# Ferry\n\nThe ferry leaves the island at nine.\n")
    (folder / "deep" / "bread.txt").write_text("Bread dough rests for one hour.")
    record = {"id": "violin", "text": "A violin has four strings.", "year": 1990}
    (folder / "music.jsonl").write_text(json.dumps(record) + "\n")
    return folder
