"""Each promise names tests that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROMISED = (
    (ROOT / "docs" / "promises.md").read_text(encoding="utf-8").partition("## Not promised")[0]
)
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PROMISED)


def test_each_promise_names_a_test():
    promises = re.split(r"\n\n(?=\*\*)", PROMISED)[1:]
    assert len(promises) >= 8
    for promise in promises:
        assert re.search(r"`tests/[\w/]+\.py::\w+`", promise), promise


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_named_test_exists(file, name):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    targets = [t for node in tree.body if isinstance(node, ast.Assign) for t in node.targets]
    defined |= {target.id for target in targets if isinstance(target, ast.Name)}
    assert name in defined
