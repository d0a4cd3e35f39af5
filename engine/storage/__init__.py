"""Storage: write-once segments, manifests, commits, snapshots, compaction and collection.

`directory` is the only code that touches the disk. `Reader` gives snapshots, `Writer` stages and
commits, `compaction` merges, `collection` removes what nobody needs any more.
"""

from __future__ import annotations

from .creation import create_index

__all__ = ["create_index"]
