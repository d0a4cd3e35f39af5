"""Makes the golden index of the present format, and what a reader must find in it.

    PYTHONPATH=tests/support python tests/compat/make_golden.py

Run once per format version; the files are kept, and every later version must read them. The
vectors are made here and the scores computed with NumPy, so that nothing expected comes from Weft.
"""

import base64
import json
import random
import shutil
import uuid
from pathlib import Path

import numpy as np
from independent_reader import Index as IndependentIndex
from word_encoder import WordEncoder

from weft import Index
from weft.engine.documents import Document
from weft.engine.ingest import encoded_batches
from weft.engine.storage.layout import submission_name
from weft.engine.storage.manifest import FORMAT_VERSION

HERE = Path(__file__).parent / f"format-{FORMAT_VERSION}"
ENCODER = WordEncoder(dim=8, document_maxlen=6, overlap=2)
COMMON = ["warp", "weft", "loom", "cloth", "thread", "shuttle"]
OTHER = ["Straße", "für", "Öl", "Übung", "Käse", "groß"]
JAPANESE = ["織機", "糸", "布", "縦", "横", "色"]


def documents(first, n, words, language):
    """Documents of one or more passages, with metadata of every kind."""
    made = []
    for number in range(first, first + n):
        pick = random.Random(number)
        text = " ".join(pick.choices(words, k=3 + number % 9))
        metadata = {
            "number": number, "even": number % 2 == 0, "ratio": number / 4, "none": None,
            "tags": [words[number % 6], number % 3], "deep": {"name": f"n{number}", "list": []},
            "large": 2**53 + number, "empty": {},
        }  # fmt: skip
        made.append(Document(f"d{number:02}/{words[0]}", text, metadata, language))
    return made


def make(folder):
    """An index of two epochs, with prefixes, a flat segment, tombstones and claims left behind."""
    Index.create(folder, encoder=ENCODER, bits=4, flat_below_tokens=20).close()
    held = {}
    with Index.open(folder, encoder=ENCODER, threads=1) as index:

        def put(new, change=index.upsert):
            change(new)
            held.update({document.id: document for document in new})

        with index._changes._writing() as writer:
            early = documents(70, 3, COMMON, "en")
            (batch,) = encoded_batches(early, ENCODER)
            flat = writer.stage(batch)
            put(documents(0, 5, COMMON, "en"))
            index.maintain()
            put(documents(10, 6, OTHER, "de"))
            index.maintain(max_steps=1)
            put(documents(20, 4, [*COMMON, *OTHER], None))
            put(documents(30, 36, [*COMMON, *OTHER], None))
            index.maintain(max_steps=1)
            put(documents(66, 4, JAPANESE, "ja"))
            writer.commit(flat)
            held.update({document.id: document for document in early})
            leave_claim(writer)
            put(documents(0, 1, JAPANESE, "ja") + documents(31, 1, OTHER, "de"))
            delete(index, held, ["d10/Straße", "d70/warp"])
            leave_claim(writer)
            put([Document("d11/Straße", "weft and warp", {}, None)])
            delete(index, held, ["d32/warp", "d66/織機", "nobody"])
            writer.collect(superseded_seconds=0, staged_seconds=0)
    shutil.rmtree(folder / "pins")
    return held


def leave_claim(writer):
    """A writer dies right after it took its place in the order."""
    with writer.snapshot() as base:
        name = submission_name(base.manifest.next_sequence)
    with writer.directory.create(name, durable=False):
        pass


def delete(index, held, ids):
    index.delete(ids)
    for id in ids:
        held.pop(id, None)


def expectations(folder, held):
    """What stands in the documents, and the scores of queries by the vectors that are kept."""
    kept = IndependentIndex(folder).documents()
    assert kept.keys() == held.keys()
    found = {}
    for id, document in held.items():
        spans = ENCODER.split(document.text)
        vectors = ENCODER.encode_passages([document.text[a:b] for a, b in spans])
        found[id] = {
            "text": document.text,
            "language": document.language,
            "metadata": dict(document.metadata),
            "spans": spans,
            "kind": kept[id]["kind"],
            "vectors": [as_text(rows) for rows in vectors],
        }
    return {"dim": ENCODER.dim, "documents": found, "queries": asked(kept)}


def asked(kept):
    """Queries with the score of each document: MaxSim of its best passage, in float64."""
    made = []
    for words in (COMMON[:3], [*OTHER[:2], "nothing"], JAPANESE[:1]):
        query = ENCODER.encode_queries([" ".join(words)])[0]
        scores = {
            id: max(float((query @ rows.T).max(axis=1).sum()) for _, _, rows in d["passages"])
            for id, d in kept.items()
        }
        made.append({"vectors": as_text(query), "scores": scores})
    return made


def as_text(rows):
    return base64.b64encode(np.ascontiguousarray(rows, dtype="<f4").tobytes()).decode()


def main():
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir()
    seeded = random.Random(0)
    uuid.uuid4 = lambda: uuid.UUID(int=seeded.getrandbits(128), version=4)
    held = make(HERE / "index")
    text = json.dumps(expectations(HERE / "index", held), ensure_ascii=False, indent=1)
    (HERE / "expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
