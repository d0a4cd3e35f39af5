"""`weft import-colbert` on an index that colbert-ai wrote; see `tests/compat/peers`."""

import json
from pathlib import Path

import weft as package

PEERS = Path(__file__).resolve().parents[1] / "compat" / "peers"


def test_it_says_what_it_took_over(weft):
    done = weft("import-colbert", PEERS / "colbert-2", "-i", "mine")
    assert done.exit_code == 0, done.output
    said = " ".join(done.stdout.split())
    assert "48 documents, 48 passages, 432 embeddings of colbert-ai at 2 bits" in said
    assert "No texts were found" in said and "No encoder is recorded" in said
    with package.Index.open("mine") as index:
        assert index.count() == 48


def test_with_a_collection_and_as_json(weft):
    Path("c.tsv").write_text("".join(f"p{n}\ttext {n}\n" for n in range(48)))
    given = ("-i", "mine", "--collection", "c.tsv", "--no-encoder", "--json")
    done = weft("import-colbert", PEERS / "fast-plaid-1.4-2", *given)
    report = json.loads(done.stdout)
    assert (report["kind"], report["texts"], report["n_documents"]) == ("fast-plaid", "c.tsv", 48)
    with package.Index.open("mine") as index:
        assert index.get("p3").text == "text 3"


def test_what_cannot_be_imported(weft):
    done = weft("import-colbert", PEERS, "-i", "mine")
    assert done.exit_code == 1 and "metadata.json" in done.stderr
    done = weft("import-colbert", PEERS / "colbert-2", "--encoder", "x", "--no-encoder")
    assert done.exit_code == 1 and "exclude" in done.stderr
    assert not Path("mine").exists() and not Path("weft-index").exists()
