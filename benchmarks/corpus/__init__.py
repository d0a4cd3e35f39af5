"""Real token vectors with exact answers, for measuring search: built once, kept in a cache.

    python -m benchmarks.corpus.build --cache DIR [--passages 100000]

A benchmark reads it with `load(cache, n_passages, dim)`.
"""

from .loader import Corpus, load, read_texts

__all__ = ["Corpus", "load", "read_texts"]
