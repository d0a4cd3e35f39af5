"""Bounds on what is accepted, all in one place; `docs/parameters.md` lists them."""

from __future__ import annotations

from typing import Final

MAX_ID_BYTES: Final = 512
"""Length of a document id in UTF-8 bytes."""

MAX_DOCUMENT_CHARACTERS: Final = 1_000_000
"""Length of one document's text; longer ones are refused, never truncated."""

MAX_METADATA_BYTES: Final = 64 * 1024
"""Length of one document's metadata as UTF-8 JSON."""

MAX_METADATA_DEPTH: Final = 8
"""Nesting of one document's metadata."""

MAX_DIM: Final = 4096
"""Components of one embedding."""

MAX_QUERY_EMBEDDINGS: Final = 4096
"""Vectors of one query."""

MAX_QUERY_NORM: Final = 10**18
"""Length of one query vector: beyond it scores could leave float32."""

MAX_QUERY_CHARACTERS: Final = 100_000
"""Length of one query text before tokenisation."""

MAX_PASSAGE_EMBEDDINGS: Final = 65_536
"""Vectors of one passage."""

MAX_K: Final = 10_000
"""Hits of one search."""

MAX_NPROBE: Final = 4096
"""Centroids probed per query vector."""

MAX_NDOCS: Final = 1_000_000
"""Passages that survive the first centroid interaction."""

MAX_FILTER_DEPTH: Final = 16
"""Nesting of one metadata filter."""

MAX_FILTER_CLAUSES: Final = 1024
"""Leaves of one metadata filter, the elements of `$in` and `$nin` included."""

FLAT_BELOW_TOKENS: Final = 300_000
"""Default size below which an index stays flat (fp16 embeddings, exact MaxSim)."""

DEFAULT_BITS: Final = 4
"""Residual bits per dimension of a new index."""

MAX_THREADS: Final = 256
"""Threads of one search or compression."""
