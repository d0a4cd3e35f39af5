"""Index three sentences and ask a question: the ten lines to start with."""

import tempfile

import weft

with weft.Index.create(tempfile.mkdtemp() + "/index") as index:
    index.add(
        [
            "The ferry to the island leaves at nine and comes back at six.",
            "Bread dough must rest for an hour before it is baked.",
            "A violin has four strings, tuned in fifths.",
        ],
        ids=["ferry", "bread", "violin"],
    )
    for hit in index.search("When does the boat go?", k=2):
        print(f"{hit.score:.2f}  {hit.id}: {hit.text}")
