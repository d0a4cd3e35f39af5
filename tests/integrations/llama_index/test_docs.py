"""The page about LlamaIndex runs, block by block, and names what there is."""

import re
from pathlib import Path

from llama_index.core.schema import NodeWithScore, TextNode

from weft.integrations import llama_index

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "llama_index.md").read_text(encoding="utf-8")


def test_the_blocks_of_the_page_run_in_their_order(tmp_path, monkeypatch, minilm):
    monkeypatch.chdir(tmp_path)
    found = [NodeWithScore(node=TextNode(text="Warp threads are held taut."))]
    names = {"found_elsewhere": found}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.S):
        exec(block, names)
    assert len(names["store"].get_nodes()) == 3


def test_the_page_names_everything():
    for name in llama_index.__all__:
        assert f"`{name}`" in PAGE
