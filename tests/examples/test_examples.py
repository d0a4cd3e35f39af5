"""The examples run as they are, each in a process of its own, and say what they should."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FIRST_LINES = {
    "quickstart.py": "ferry: The ferry to the island",
    "embeddings.py": "8.000  page-42  {'number': 42}",
    "filters.py": "{}: A ",
    "langchain_rag.py": "chain: The ferry to the island leaves at nine",
    "migrate_from_colbert.py": "colbert-ai: 48 passages",
    "llama_index_rag.py": "pipeline: 5 nodes, 0 the second time",
    "openai_client.py": "ferry.txt: completed",
    "streaming_ingestion.py": "Two workers",
    "train_on_your_domain.py": "model: bread, ",
}


def run(name: str, cwd: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "TMPDIR": str(cwd)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_example_is_run() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(FIRST_LINES)


@pytest.mark.parametrize("name", [name for name in FIRST_LINES if not name.startswith("stream")])
def test_example(name: str, tmp_path: Path) -> None:
    lines = run(name, tmp_path)
    assert FIRST_LINES[name] in lines[0]


def test_an_imported_index_is_searched_and_grows(tmp_path: Path) -> None:
    lines = run("migrate_from_colbert.py", tmp_path)
    assert lines[1].startswith("before: best of 48 is ") and lines[2] == "after: best of 49 is new"


def test_filters_choose_by_metadata(tmp_path: Path) -> None:
    years = [line.rsplit("(", 1)[1] for line in run("filters.py", tmp_path)]
    assert years[1:3] == ["1719)", "1865)"]
    assert years[3] in ("1818)", "1865)")


def test_a_chain_and_an_agent_answer_from_what_they_find(tmp_path: Path) -> None:
    lines = run("langchain_rag.py", tmp_path)
    assert "rest for an hour" in lines[1] and "tuned in fifths" in lines[1]
    assert lines[2].startswith("agent: Tickets for the crossing")
    assert lines[3].startswith("filter: storm, score ") and lines[3].endswith("met by 'boat'")
    assert lines[4].startswith("rerank: A violin")


def test_a_query_engine_answers_from_what_a_pipeline_wrote(tmp_path: Path) -> None:
    lines = run("llama_index_rag.py", tmp_path)
    assert lines[1].startswith("source: The ferry to the island")
    assert lines[2] == "answer quotes it: True"
    assert lines[3].startswith("filter: storm, score ")
    assert lines[4] == "update: The ferry is replaced by a bridge."


def test_an_openai_client_searches_what_it_uploaded(tmp_path: Path) -> None:
    lines = run("openai_client.py", tmp_path)
    assert lines[3].startswith("search: ferry.txt ") and lines[3].endswith("comes back at six.")
    assert lines[4] == "filter: ticket.md"
    assert lines[5].startswith("embedding: ") and " vectors of 128, " in lines[5]


def test_streaming_finds_all_that_was_submitted(tmp_path: Path) -> None:
    lines = run("streaming_ingestion.py", tmp_path)
    assert FIRST_LINES["streaming_ingestion.py"] in lines[0]
    assert lines[1].startswith("60 passages, each found ")
    assert lines[2].endswith(" 61 documents")
