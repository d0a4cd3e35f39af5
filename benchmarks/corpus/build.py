"""Make the corpus, or go on with it where an earlier run stopped.

    python -m benchmarks.corpus.build --cache DIR [--passages 100000] [--threads 1]
        [--collections corpus.jsonl.gz ...]

Run it from the root of the repository; DIR should lie outside it. 100,000 passages take 6 GB for
384 dimensions, 2 GB for 128, and half an hour or more on one thread; each size (10,000, 40,000,
100,000) can be loaded as soon as its exact answers are there.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import cache
from pathlib import Path

from .layout import SIZES, CorpusError, Layout
from .model import PRECISIONS, TokenEncoder
from .passages import write_passages
from .stages import finish


def build(
    layout: Layout, n_passages: int, threads: int, precision: str, collections: list[Path]
) -> None:
    """Every size up to n_passages, the smallest first.

    Raises:
        CorpusError: texts cannot be had, or another build is running.
    """
    import torch

    torch.set_num_threads(threads)
    make_encoder = cache(lambda: TokenEncoder(threads, precision))
    with layout.lock():
        write_passages(layout, SIZES[-1], collections)
        print(f"{layout.cache}: {layout.read_settings()}", flush=True)
        for size in SIZES:
            if size <= min(n_passages, layout.read_settings()["passages"]):
                finish(layout, size, make_encoder)
                print(f"{size} passages are ready", flush=True)


def main() -> int:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--passages", type=int, choices=SIZES, default=SIZES[-1])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--collections", type=Path, nargs="+", default=[], help="to cut instead of Debian's texts"
    )
    parser.add_argument("--precision", choices=PRECISIONS, default=PRECISIONS[0])
    args = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        build(Layout(args.cache), args.passages, args.threads, args.precision, args.collections)
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
