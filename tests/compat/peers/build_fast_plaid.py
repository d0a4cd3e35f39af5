"""Makes indexes with fast-plaid, in an environment of its own; see `make_indexes.py`.

Usage: python build_fast_plaid.py OUT NAME BITS
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from fast_plaid import filtering
from fast_plaid import search as fast_plaid

sys.path.insert(0, str(Path(__file__).resolve().parent))
from vectors import N_PASSAGES, passages, queries


def main(out, name, bits):
    folder = out / f"{name}-{bits}"
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(1)
    index = fast_plaid.FastPlaid(str(folder), device="cpu")
    rows = [torch.from_numpy(one) for one in passages()]
    index.create(documents_embeddings=rows, nbits=bits, seed=1)
    index = fast_plaid.FastPlaid(str(folder), device="cpu")
    answers = index.search(
        torch.from_numpy(queries()), top_k=N_PASSAGES, n_full_scores=10**6,
        n_ivf_probe=len(np.load(folder / "centroids.npy")), show_progress=False,
    )  # fmt: skip
    scores = np.full((len(answers), N_PASSAGES), np.nan, dtype=np.float32)
    for number, answer in enumerate(answers):
        for pid, score in answer:
            scores[number, pid] = score
    np.save(folder / "expected_scores.npy", scores)
    filtering.create(
        index=str(folder),
        metadata=[{"page": pid, "part": f"p{pid % 3}"} for pid in range(N_PASSAGES)],
    )
    for needless in ("embeddings.npy", "plaid.lock", "plan.json", "cluster_threshold.npy"):
        (folder / needless).unlink(missing_ok=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
