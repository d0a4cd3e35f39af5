"""Makes indexes with colbert-ai, in an environment of its own; see `make_indexes.py`.

Usage: python build_colbert.py OUT, with the repository's root on PYTHONPATH.
"""

import json
import os
import random
import sys
from pathlib import Path

import numpy as np
import torch
from colbert.indexing.codecs.residual import ResidualCodec
from colbert.indexing.codecs.residual_embeddings import ResidualEmbeddings
from colbert.infra import ColBERTConfig
from colbert.modeling.colbert import ColBERT

from benchmarks.peers.engines.base import Data
from benchmarks.peers.engines.colbert import Indexer

sys.path.insert(0, str(Path(__file__).resolve().parent))
from vectors import DIM, maxsim, passages, queries

CENTROIDS = 32
PASSAGES_PER_CHUNK = 20


class SmallIndexer(Indexer):
    """With fewer centroids than so few vectors would get, and chunks of a few passages."""

    def setup(self):
        self.collection.get_chunksize = lambda: PASSAGES_PER_CHUNK
        super().setup()
        self.num_partitions = CENTROIDS
        self._save_plan()


def write_data(folder):
    rows = passages()
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "embeddings.npy", np.concatenate(rows).astype(np.float16))
    np.save(folder / "offsets.npy", np.cumsum([0, *map(len, rows)]))
    return Data(folder)


def build(bits, folder, data):
    random.seed(1)
    torch.manual_seed(1)
    os.environ["PYTHONHASHSEED"] = "0"
    config = ColBERTConfig(
        dim=DIM, index_path=str(folder), rank=0, nranks=1, nbits=bits, index_bsize=8,
        root="experiments", experiment="weft", name="fixture",
    )  # fmt: skip
    SmallIndexer(config, data).run([])


def reconstructed(folder):
    """Vectors as the package itself rebuilds them, and the lengths of the passages."""
    ColBERT.try_load_torch_extensions(False)
    chunks = json.loads((folder / "metadata.json").read_text())["num_chunks"]
    loaded = ResidualEmbeddings.load_chunks(str(folder), range(chunks), sum(
        json.loads((folder / f"{n}.metadata.json").read_text())["num_embeddings"]
        for n in range(chunks)
    ))  # fmt: skip
    doclens = [
        length
        for n in range(chunks)
        for length in json.loads((folder / f"doclens.{n}.json").read_text())
    ]
    total = sum(doclens)
    embeddings = ResidualEmbeddings(loaded.codes[:total], loaded.residuals[:total])
    return ResidualCodec.load(str(folder)).decompress(embeddings).numpy(), doclens


def tidy(folder):
    """Leave out what no reader needs and what tells where the index was made."""
    for path in folder.glob("plan.json"):
        path.unlink()
    path = folder / "metadata.json"
    metadata = json.loads(path.read_text())
    for key in ("index_path", "root", "name", "experiment"):
        metadata["config"].pop(key, None)
    path.write_text(json.dumps(metadata, indent=1))


def main(out):
    data = write_data(out / "data")
    for bits in (1, 2, 4, 8):
        folder = out / f"colbert-{bits}"
        folder.mkdir()
        build(bits, folder, data)
        embeddings, doclens = reconstructed(folder)
        np.save(folder / "expected_scores.npy", maxsim(embeddings, doclens, queries()))
        tidy(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
