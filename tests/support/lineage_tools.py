"""What the tests of lineage share: domains of embeddings, and an index decoded in NumPy."""

import numpy as np
from rotations import turned_back

from weft.engine.documents import Document
from weft.engine.storage import create_index
from weft.engine.storage.batch import EncodedBatch
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.maintenance import maintain
from weft.engine.storage.manifest import IndexSettings
from weft.engine.storage.reader import Reader
from weft.engine.storage.writer import Writer

DIM = 24
TOKENS = 12


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def domain(seed, n_topics=40):
    """The topics of a domain."""
    return unit(np.random.default_rng(seed).normal(size=(n_topics, DIM)))


def passages(topics, n, seed, noise=0.5):
    """Passages of `TOKENS` embeddings each, scattered around the topics."""
    rng = np.random.default_rng(seed)
    centres = topics[rng.integers(len(topics), size=(n, TOKENS))]
    return list(unit(centres + noise * rng.normal(size=centres.shape) / np.sqrt(DIM)))


def new_index(path, *, bits, flat_below_tokens=1000, **settings):
    directory = LocalDirectory(path, durable=False)
    chosen = IndexSettings(bits=bits, flat_below_tokens=flat_below_tokens, **settings)
    create_index(directory, dim=DIM, encoder=None, settings=chosen)
    return directory


def batch_of(ids, arrays):
    """One passage per document, whose text is its id."""
    n = len(ids)
    return EncodedBatch(
        documents=[Document(id, f"text of {id}", {"name": id}) for id in ids],
        passage_document=np.arange(n, dtype=np.uint32),
        spans=np.array([[0, len(f"text of {id}")] for id in ids], dtype=np.int64),
        doclens=np.array([len(rows) for rows in arrays], dtype=np.uint32),
        embeddings=np.concatenate(arrays).astype(np.float32),
    )


def add(writer, ids, arrays, **options):
    return writer.commit(writer.stage(batch_of(ids, arrays)), **options)


def fill(writer, store, prefix, arrays):
    """Add passages and note them in a dictionary."""
    ids = [f"{prefix}{number}" for number in range(len(arrays))]
    store.update(zip(ids, arrays, strict=True))
    add(writer, ids, arrays)


def decode(codec, codes, residuals, inverse_norms):
    """float64 [n, dim] from the definition of the format; `codec` are the tensors of a codec."""
    weights = codec["bucket_weights"].astype(np.float64)
    bits = len(weights).bit_length() - 1
    stream = np.unpackbits(residuals, axis=1, bitorder="little")[:, : DIM * bits]
    buckets = (stream.reshape(len(codes), DIM, bits) << np.arange(bits)).sum(axis=2)
    low, high = codec["inverse_norm_range"].astype(np.float64)
    inverse = low + inverse_norms / 255 * (high - low)
    rows = (codec["centroids"].astype(np.float64)[codes] + weights[buckets]) * inverse[:, None]
    return turned_back(codec.get("rotation"), rows)


def stored(snapshot):
    """id -> float64 rows of each alive document, and the documents themselves."""
    rows, documents = {}, {}
    tensors = {id: codec.tensors() for id, codec in snapshot.codecs.items()}
    for view in snapshot.segments:
        reader = snapshot.manifest.codec_of(view.files.ref)
        names = ["embeddings"] if reader is None else ["codes", "residuals", "inverse_norms"]
        for name in names:
            view.touch_all(name)
        if reader is None:
            every = view.embeddings.astype(np.float64)
        else:
            assert len(view.codes) == 0 or int(view.codes.max()) < view.n_centroids
            parts = (view.codes, view.residuals, view.inverse_norms)
            every = decode(tensors[reader.id], *parts)
        for docno, id in enumerate(view.passages.ids()):
            if view.is_alive(docno):
                assert id not in rows, f"{id} is alive twice"
                pids = np.flatnonzero(view.passage_document == docno)
                rows[id] = [every[view.offsets[p] : view.offsets[p + 1]] for p in pids]
                documents[id] = view.passages.document(docno)
    return rows, documents


def scores_of(rows, query):
    """id -> MaxSim of the document's best passage, by brute force."""
    wanted = query.astype(np.float64)
    return {
        id: max(float((wanted @ part.T).max(axis=1).sum()) for part in parts)
        for id, parts in rows.items()
    }


def is_best(hits, scores, k, tolerance=1e-3):
    """Whether `(id, score)` pairs are the k best, up to ties within the tolerance."""
    ordered = sorted(scores.values(), reverse=True)[:k]
    if len(hits) != len(ordered):
        return False
    return all(
        abs(score - expected) <= tolerance and abs(scores[id] - expected) <= tolerance
        for (id, score), expected in zip(hits, ordered, strict=True)
    )


def recall(ranked, exact, k=10):
    """Share of the k best by exact scores that a search has found."""
    best = set(sorted(exact, key=lambda id: -exact[id])[:k])
    return len(best & set(ranked[:k])) / k


def names(report):
    return [step.name for step in report.steps if step.name != "collect"]


def epochs(directory):
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        return [(codec.epoch, len(codec.prefixes)) for codec in snapshot.manifest.codecs]


def check(directory, store, least=0.5):
    """The index holds the dictionary: its texts, and embeddings near to what was handed in."""
    with Reader(directory) as reader, reader.snapshot() as snapshot:
        rows, documents = stored(snapshot)
        assert set(rows) == set(store)
        assert snapshot.n_documents == len(store)
        for id, (part,) in rows.items():
            assert documents[id].text == f"text of {id}" and documents[id].metadata == {"name": id}
            assert (unit(part) * store[id]).sum(axis=1).mean() > least


def grow(writer, store, factor=8):
    """Let the index grow by a factor, from documents of both domains."""
    for n in range(factor):
        fill(writer, store, f"g{n}-", passages(domain(1 + n % 2), 100, 50 + n))


def two_epochs(directory, store):
    """An index whose second epoch has been trained, with all segments in the first."""
    with Writer(directory) as writer:
        fill(writer, store, "a", passages(domain(1), 100, 1))
        maintain(writer)
        grow(writer, store)
        assert names(maintain(writer, max_steps=1)) == ["retrain"]
