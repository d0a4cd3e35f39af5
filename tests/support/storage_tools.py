"""What the storage tests share: batches made from a dictionary, its oracle, and a dying disk."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from weft.engine.documents import Document
from weft.engine.storage import create_index
from weft.engine.storage.batch import EncodedBatch
from weft.engine.storage.directory import Directory, LocalDirectory
from weft.engine.storage.manifest import IndexSettings

DIM = 8


def embeddings_of(id: str, text: str, dim: int = DIM) -> list[np.ndarray]:
    """One array of unit rows per passage, determined by the document's id and text."""
    digest = hashlib.blake2b(f"{id}\0{text}".encode(), digest_size=8).digest()
    random = np.random.default_rng(int.from_bytes(digest, "little"))
    arrays = []
    for _ in range(int(random.integers(1, 4))):
        rows = random.standard_normal((int(random.integers(1, 6)), dim)).astype(np.float32)
        arrays.append(rows / np.linalg.norm(rows, axis=1, keepdims=True))
    return arrays


def spans_of(text: str, n_passages: int) -> list[tuple[int, int]]:
    """Overlapping spans, one per passage."""
    return [(min(i, len(text)), max(len(text) - i, min(i, len(text)))) for i in range(n_passages)]


def make_batch(documents: list[Document], dim: int = DIM, dtype=np.float32) -> EncodedBatch:
    passages = [embeddings_of(d.id, d.text, dim) for d in documents]
    counts = [len(arrays) for arrays in passages]
    arrays = [array for group in passages for array in group]
    spans = [s for d, n in zip(documents, counts, strict=True) for s in spans_of(d.text, n)]
    return EncodedBatch(
        documents=documents,
        passage_document=np.repeat(np.arange(len(documents), dtype=np.uint32), counts),
        spans=np.array(spans, dtype=np.int64).reshape(-1, 2),
        doclens=np.array([len(a) for a in arrays], dtype=np.uint32),
        embeddings=np.concatenate(arrays).astype(dtype),
    )


def document(id: str, version: int = 0) -> Document:
    """A document whose every part depends on id and version."""
    return Document(
        id=id,
        text=f"text of {id}, version {version}: é\n日本",
        metadata={"version": version, "name": id, "tags": [version, id], "deep": {"n": version}},
        language="en" if version % 2 else None,
    )


def documents(n: int, first: int = 0, version: int = 0) -> list[Document]:
    return [document(f"d{number}", version) for number in range(first, first + n)]


def new_index(path: Path, *, durable=False, dim=DIM, bits=8, flat_below_tokens=10**9, **settings):
    """A directory with an empty index in it."""
    directory = LocalDirectory(path, durable=durable)
    chosen = IndexSettings(bits=bits, flat_below_tokens=flat_below_tokens, **settings)
    create_index(directory, dim=dim, encoder=None, settings=chosen)
    return directory


def add(writer, docs, **options):
    return writer.commit(writer.stage(make_batch(docs)), **options)


def contents(snapshot) -> dict[str, Document]:
    """Every alive document, checked against the oracle of its embeddings on the way."""
    found: dict[str, Document] = {}
    for segment in snapshot.segments:
        docnos = np.arange(segment.n_documents)
        if segment.alive_documents is not None:
            docnos = docnos[segment.alive_documents]
        stored = segment.passages.documents(docnos)
        for docno, doc in zip(docnos, stored, strict=True):
            assert doc.id not in found, f"{doc.id} is alive twice"
            found[doc.id] = doc
            check_passages(segment, int(docno), doc)
        assert segment.passages.docnos([d.id for d in stored]) == {
            d.id: n for d, n in zip(stored, docnos, strict=True)
        }
    assert snapshot.n_documents == len(found)
    arrays = [a for d in found.values() for a in embeddings_of(d.id, d.text, snapshot.manifest.dim)]
    assert snapshot.n_passages == len(arrays)
    assert snapshot.n_tokens == sum(len(a) for a in arrays)
    return found


def check_passages(segment, docno: int, doc: Document) -> None:
    pids = np.flatnonzero(segment.passage_document == docno)
    expected = embeddings_of(doc.id, doc.text, segment.dim)
    assert len(pids) == len(expected)
    spans, ordinals = segment.passages.spans(pids)
    assert spans.tolist() == [list(s) for s in spans_of(doc.text, len(pids))]
    assert ordinals.tolist() == list(range(len(pids)))
    for pid, rows in zip(pids, expected, strict=True):
        stored = stored_rows(segment, int(pid))
        if segment.kind == "flat":
            assert np.array_equal(stored[0], rows.astype(np.float16))
        else:
            # As they were handed in, or as a flat segment had kept them before, by the codec or by
            # what it was when the segment was made; near where an earlier codec's were converted.
            same = (same_arrays(stored, compressed(codec, kept)) for codec in made_with(segment)
                    for kept in (rows, rows.astype(np.float16)))  # fmt: skip
            assert any(same) or are_near(segment.codec.decompress(*stored), rows)
            check_lists(segment, int(pid))


def made_with(segment):
    """The segment's codec, and its first centroids alone where others were appended since."""
    codec, first = segment.codec, segment.n_centroids
    return [codec, replace(codec, centroids=codec.centroids[:first])]


def stored_rows(segment, pid: int) -> list[np.ndarray]:
    """What a segment keeps of a passage's embeddings."""
    start, end = int(segment.offsets[pid]), int(segment.offsets[pid + 1])
    coded = ["codes", "residuals", "inverse_norms"]
    names = ["embeddings"] if segment.kind == "flat" else coded
    for name in names:
        segment.touch(name, np.array([start]), np.array([end]))
    return [getattr(segment, name)[start:end] for name in names]


def compressed(codec, rows) -> list[np.ndarray]:
    packed = codec.compress(rows)
    return [packed.codes, packed.residuals, packed.inverse_norms]


def same_arrays(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def are_near(decompressed, rows) -> bool:
    """Whether rows are what compression leaves of others, which are strangers otherwise.

    A codec that was trained on a document or two, and then converted, leaves no more.
    """
    return float((decompressed * rows).sum(axis=1).mean()) > 0.5


def check_lists(segment, pid: int) -> None:
    """The passage stands in the inverted list of each of its codes."""
    segment.touch_all("ivf_pids")
    for code in segment.codes[segment.offsets[pid] : segment.offsets[pid + 1]]:
        assert pid in inverted_list(segment, int(code))


def inverted_list(segment, code: int) -> list[int]:
    number = code
    if segment.ivf_centroids is not None:
        at = np.flatnonzero(segment.ivf_centroids == code)
        if not len(at):
            return []
        number = int(at[0])
    return segment.ivf_pids[segment.ivf_offsets[number] : segment.ivf_offsets[number + 1]].tolist()


class Killed(BaseException):
    """The process died at this call."""


@dataclass
class DyingDirectory(Directory):
    """Passes calls on to a local directory until the n-th that writes, where the process dies.

    Nothing that happens afterwards reaches the disk, and what was half written stays.
    """

    inner: LocalDirectory
    calls_left: int
    dead: bool = False
    log: list[str] = field(default_factory=list)

    def __hash__(self) -> int:
        return id(self)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        if self.dead:
            raise Killed(name)
        self.log.append(name)
        self.calls_left -= 1
        self.dead = self.calls_left < 0
        if self.dead:
            raise Killed(name)
        yield

    @contextmanager
    def create(self, name, *, durable=True):
        path = self.inner.path / name
        with self._step(f"create {name}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = path.open("x+b", buffering=0)
        try:
            yield _DyingFile(self, name, handle)
            with self._step(f"fsync {name}"):
                pass
        except BaseException:
            if durable and not self.dead:
                path.unlink()
            raise
        finally:
            handle.close()

    @contextmanager
    def create_by_path(self, name):
        path = self.inner.path / name
        with self._step(f"create by path {name}"):
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield path
            with self._step(f"fsync {name}"):
                pass
        except BaseException:
            if not self.dead:
                path.unlink(missing_ok=True)
            raise

    def publish(self, source, name):
        with self._step(f"publish {name}"):
            self.inner.publish(source, name)

    def sync_folder(self, folder=""):
        with self._step(f"sync {folder}"):
            self.inner.sync_folder(folder)

    def touch(self, name):
        with self._step(f"touch {name}"):
            self.inner.touch(name)

    def remove(self, name):
        with self._step(f"remove {name}"):
            self.inner.remove(name)

    def clock_seconds(self):
        if self.dead:
            raise Killed
        return self.inner.clock_seconds()

    def read(self, name, offset=0, length=None):
        return self.inner.read(name, offset, length)

    def map(self, name):
        return self.inner.map(name)

    def readable_path(self, name):
        return self.inner.readable_path(name)

    def list(self, folder=""):
        return self.inner.list(folder)

    def exists(self, name):
        return self.inner.exists(name)

    def status(self, name):
        return self.inner.status(name)


@dataclass
class _DyingFile:
    directory: DyingDirectory
    name: str
    handle: object

    def write_at(self, offset, data):
        with self.directory._step(f"write {self.name}"):
            self.handle.seek(offset)
            self.handle.write(data)

    def read_at(self, offset, length):
        self.handle.seek(offset)
        return self.handle.read(length)


def work(path: str, name: str, n_commits: int) -> None:
    """Add, replace and delete, `n_commits` times each: what racing writers do."""
    from weft.engine.storage.writer import Writer

    with Writer(LocalDirectory(path, durable=False)) as writer:
        for n in range(n_commits):
            add(writer, [document(f"{name}-{n}"), document(f"{name}-gone-{n}")])
            add(writer, [document(f"{name}-{n}", 1), document("shared", n)], replace=True)
            writer.commit([], delete=[f"{name}-gone-{n}"])
