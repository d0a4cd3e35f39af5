"""An index of colbert-ai or RAGatouille, taken over without encoding again, searched and grown.

Usage: python migrate_from_colbert.py [INDEX]

INDEX is the folder of the index, such as .ragatouille/colbert/indexes/NAME. Left out, the small one
is taken that colbert-ai wrote for Weft's tests.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import weft

SMALL = Path(__file__).resolve().parents[1] / "tests" / "compat" / "peers" / "colbert-4"
source = Path(sys.argv[1]) if len(sys.argv) > 1 else SMALL

with tempfile.TemporaryDirectory() as folder:
    target = Path(folder) / "my-index"
    # Without a checkpoint that can be loaded, encoder=False: the index is searched with vectors.
    report = weft.import_colbert(source, target, encoder=False if source == SMALL else None)
    print(
        f"{report.kind}: {report.n_passages} passages, {report.n_tokens} embeddings, nothing lost"
    )

    with weft.Index.open(target) as index:
        rng = np.random.default_rng(0)
        vectors = rng.normal(size=(8, index.stats().dim))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        print(f"before: best of {index.count()} is {index.search(vectors, k=1)[0].id}")

        # It grows like any other index; a passage of the query's own vectors is now the best.
        index.add(ids=["new"], embeddings=[vectors])
        print(f"after: best of {index.count()} is {index.search(vectors, k=1)[0].id}")
