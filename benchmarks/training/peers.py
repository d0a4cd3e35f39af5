"""Do checkpoints that Weft trained give the same vectors in PyLate and in colbert-ai?

    python benchmarks/training/peers.py MODEL HF_COLBERT --pylate PYTHON --colbert-ai PYTHON

MODEL and HF_COLBERT are the two folders that `weft train distil` leaves. Each PYTHON is an
interpreter of an environment that holds the peer (pylate 1.6, colbert-ai 0.2.22); a script below
encodes the same texts there, and its vectors are compared with Weft's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from weft.engine.encoder import load_encoder

QUERIES = [
    "what is drawn through the warp?",
    "0-dimensional biomaterials show inductive properties",
]
PASSAGES = [
    "Warp threads are held taut on the loom; the weft is drawn through.",
    "Microstructural development (of the brain), measured: 0.5 mm, 3.2 %!",
]

PYLATE = """
import json, sys, numpy as np
from pylate import models
folder, texts, out = sys.argv[1:]
given = json.load(open(texts))
model = models.ColBERT(model_name_or_path=folder, device="cpu")
found = {}
for kind, query in (("queries", True), ("passages", False)):
    for n, text in enumerate(given[kind]):
        rows = model.encode([text], is_query=query, show_progress_bar=False)[0]
        found[f"{kind}{n}"] = np.asarray(rows, dtype=np.float32)
np.savez(out, **found)
"""

COLBERT_AI = """
import json, sys, numpy as np
from colbert.infra import ColBERTConfig
from colbert.modeling.checkpoint import Checkpoint
folder, texts, out = sys.argv[1:]
given = json.load(open(texts))
checkpoint = Checkpoint(folder, colbert_config=ColBERTConfig.load_from_checkpoint(folder))
found = {}
for n, text in enumerate(given["queries"]):
    found[f"queries{n}"] = checkpoint.queryFromText([text])[0].float().cpu().numpy()
for n, text in enumerate(given["passages"]):
    rows = checkpoint.docFromText([text], keep_dims=False)[0]
    found[f"passages{n}"] = rows.float().cpu().numpy()
np.savez(out, **found)
"""


def theirs(python: str, script: str, folder: Path) -> dict[str, np.ndarray]:
    """What a peer makes of the texts, in a process of its own environment."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "run.py").write_text(script, encoding="utf-8")
        texts = {"queries": QUERIES, "passages": PASSAGES}
        (place / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
        command = [*python.split(), "run.py", str(folder.resolve()), "texts.json", "out.npz"]
        # This interpreter's packages must not stand before the peer's own.
        own = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        subprocess.run(command, cwd=place, check=True, env=own)
        with np.load(place / "out.npz") as found:
            return dict(found)


def ours(folder: Path) -> dict[str, np.ndarray]:
    """What Weft makes of them."""
    encoder = load_encoder(folder)
    found = {f"queries{n}": rows for n, rows in enumerate(encoder.encode_queries(QUERIES))}
    passages = encoder.encode_passages(PASSAGES)
    return found | {f"passages{n}": rows for n, rows in enumerate(passages)}


def main() -> None:
    """Compare, and print the largest difference of each text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("hf_colbert", type=Path)
    parser.add_argument("--pylate", help="interpreter with pylate")
    parser.add_argument("--colbert-ai", help="interpreter with colbert-ai")
    given = parser.parse_args()
    peers = (
        ("PyLate", given.pylate, PYLATE, given.model),
        ("colbert-ai", given.colbert_ai, COLBERT_AI, given.hf_colbert),
    )
    for name, python, script, folder in peers:
        if not python:
            print(f"{name}: not asked for")
            continue
        own, other = ours(folder), theirs(python, script, folder)
        for text, rows in own.items():
            same = rows.shape == other[text].shape
            far = float(np.abs(rows - other[text]).max()) if same else float("nan")
            print(f"{name} {text}: {rows.shape} and {other[text].shape}, largest gap {far:.1e}")


if __name__ == "__main__":
    main()
