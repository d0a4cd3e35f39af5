"""What the state machine changes and asks: ids, metadata, filters, and batches for a writer."""

import numpy as np

from weft.engine.storage.batch import EncodedBatch

IDS = [f"d{n}" for n in range(9)]

FILTERS = [
    lambda n: (None, lambda m: True),
    lambda n: ({"version": {"$gte": n}}, lambda m: m["version"] >= n),
    lambda n: ({"even": n % 2 == 0}, lambda m: m["even"] == (n % 2 == 0)),
    lambda n: ({"tags": {"$contains": n % 5}}, lambda m: n % 5 in m["tags"]),
    lambda n: ({"deep.id": {"$nin": IDS[: n % 9]}}, lambda m: m["deep"]["id"] not in IDS[: n % 9]),
    lambda n: (
        {"$or": [{"version": {"$lt": n}}, {"$not": {"even": True}}]},
        lambda m: m["version"] < n or not m["even"],
    ),
]


def metadata(id, version):
    return {
        "version": version,
        "even": version % 2 == 0,
        "tags": [version % 5, id],
        "deep": {"id": id},
    }


def sequences_of(change):
    return np.full(len(change.entries), change.sequence, dtype=np.uint64)


def batch_of(entries):
    """What a writer is handed."""
    passages = [rows for entry in entries for rows in entry.passages]
    counts = [len(entry.passages) for entry in entries]
    return EncodedBatch(
        documents=[entry.document for entry in entries],
        passage_document=np.repeat(np.arange(len(entries), dtype=np.uint32), counts),
        spans=np.array([span for entry in entries for span in entry.spans], dtype=np.int64),
        doclens=np.array([len(rows) for rows in passages], dtype=np.uint32),
        embeddings=np.concatenate(passages),
    )
