"""Reads an index as docs/format.md describes it, with nothing of Weft: the proof of that page.

Written from the document alone; a reader in another language would look like this one.
"""

import hashlib
import json
import sqlite3
from itertools import pairwise
from pathlib import Path

import numpy as np

DTYPES = {"U8": "u1", "U16": "<u2", "U32": "<u4", "U64": "<u8", "I64": "<i8",
          "F16": "<f2", "F32": "<f4"}  # fmt: skip
BLOCK_BYTES = 65536


def crc32c(data):
    """Castagnoli's polynomial, reflected, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def require(condition, what):
    if not condition:
        raise ValueError(what)


def read_manifest(folder):
    """The newest generation."""
    path = max(folder.glob("manifest.*.json"))
    data = path.read_bytes()
    covered, trailer = data[:-22], data[-22:]
    require(trailer == b',"crc32c":"%08x"}\n' % crc32c(covered), f"{path.name}: checksum")
    manifest = json.loads(covered + b"}")
    require(path.name == f"manifest.{manifest['generation']:016d}.json", "generation")
    require(manifest["format_version"] == 1 and not manifest["required_features"], "format")
    return manifest


def read_small(path, ref):
    """A file whose length and checksum somebody else keeps."""
    data = path.read_bytes()
    require(len(data) == ref["size_bytes"] and crc32c(data) == ref["crc32c"], path.name)
    return tensors(data)


def tensors(data):
    """The tensors of a safetensors file, without padding."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    found, end = {}, start
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = (start + offset for offset in entry["data_offsets"])
        require(first == end, "tensors leave a gap")
        end = last
        if not name.startswith("_padding."):
            require(first % 64 == 0, f"{name} is not aligned")
            array = np.frombuffer(data[first:last], DTYPES[entry["dtype"]])
            found[name] = array.reshape(entry["shape"])
    require(end == len(data), "bytes behind the last tensor")
    return found


def cut(data, offsets):
    """UTF-8 strings that lie one after the other."""
    return [bytes(data[a:b]).decode() for a, b in pairwise(offsets)]


class Codec:
    """Centroids and buckets."""

    def __init__(self, folder, ref):
        self.parts = read_small(folder / "codec" / ref["id"] / "codec.safetensors", ref["file"])
        self.bits = ref["bits"]
        require(self.parts["centroids"].shape[0] == ref["n_centroids"], "n_centroids")
        require(len(self.parts["bucket_weights"]) == 2**self.bits, "bucket_weights")
        require(self.hash() == ref["hash"], "hash of the codec")

    def hash(self):
        digest = hashlib.blake2b(f"weft codec, {self.bits} bits".encode(), digest_size=16)
        for name in sorted(self.parts):
            part = self.parts[name]
            digest.update(f"{name} {part.dtype.str} {part.shape}".encode() + part.tobytes())
        return digest.hexdigest()

    def decode(self, codes, residuals, inverse_norms):
        """(centroid + bucket weights) x inverse norm, in float64."""
        centroids = self.parts["centroids"].astype(np.float64)
        low, high = self.parts["inverse_norm_range"].astype(np.float64)
        flags = np.unpackbits(residuals, axis=1, bitorder="little")
        flags = flags[:, : centroids.shape[1] * self.bits].reshape(len(codes), -1, self.bits)
        buckets = flags @ (1 << np.arange(self.bits))
        rows = centroids[codes] + self.parts["bucket_weights"].astype(np.float64)[buckets]
        return self.turned_back(rows) * (low + inverse_norms[:, None] * (high - low) / 255)

    def turned_back(self, rows):
        """Rows of block i are components i, i + dim / b, ..., rotated."""
        if "rotation" not in self.parts:
            return rows
        rotation = self.parts["rotation"].astype(np.float64)
        blocks = rows.reshape(len(rows), -1, len(rotation)) @ rotation.T
        return blocks.transpose(0, 2, 1).reshape(rows.shape)


class Segment:
    """One segment with what is alive in it."""

    def __init__(self, folder, ref, manifest, codecs, dead):
        self.ref, place = ref, folder / "segments" / ref["id"]
        sums = read_small(place / "checksums.safetensors", ref["checksums"])
        for name, size in (("arrays.safetensors", "arrays_bytes"),
                           ("passages.sqlite", "passages_bytes")):  # fmt: skip
            data = (place / name).read_bytes()
            blocks = [data[at : at + BLOCK_BYTES] for at in range(0, len(data), BLOCK_BYTES)]
            require(len(data) == ref[size], f"length of {name}")
            require(sums[name].tolist() == [crc32c(block) for block in blocks], f"blocks of {name}")
        self.arrays = tensors((place / "arrays.safetensors").read_bytes())
        self.ids = cut(self.arrays["id_bytes"], self.arrays["id_offsets"])
        self.alive = np.ones(ref["n_documents"], dtype=bool)
        self.alive[dead] = False
        self.rows = self._rows(codecs(ref), manifest["dim"])
        database = sqlite3.connect(f"{(place / 'passages.sqlite').as_uri()}?mode=ro", uri=True)
        self.documents = list(database.execute("SELECT * FROM documents ORDER BY docno"))
        self.passages = list(database.execute("SELECT * FROM passages ORDER BY pid"))
        self.metadata = list(database.execute("SELECT * FROM metadata"))
        database.close()

    def _rows(self, codec, dim):
        if self.ref["kind"] == "flat":
            rows = self.arrays["embeddings"].astype(np.float64)
        else:
            names = "codes", "residuals", "inverse_norms"
            rows = codec.decode(*(self.arrays[name] for name in names))
        require(rows.shape == (self.ref["n_tokens"], dim), "shape of the embeddings")
        return rows

    def sequence(self, docno):
        """Of the change that put a document there."""
        own = self.arrays.get("sequences")
        return self.ref["sequence"] if own is None else int(own[docno])

    def find(self, id):
        """The docno of an id by Bloom filter and sorted hashes, dead or alive; None if absent."""
        number = int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest(), "little")
        bloom = self.arrays["id_bloom"]
        low, high = number & 0xFFFFFFFF, number >> 32 | 1
        for probe in range(7):
            bit = (low + probe * high) % 2**64 % (8 * len(bloom))
            if not bloom[bit // 8] >> bit % 8 & 1:
                return None
        hashes = self.arrays["id_hashes"]
        first, last = (
            int(hashes.searchsorted(np.uint64(number), side)) for side in ("left", "right")
        )
        here = [int(d) for d in self.arrays["id_docnos"][first:last] if self.ids[d] == id]
        return here[0] if here else None

    def inverted_lists(self):
        """Centroid -> pids."""
        lengths = self.arrays["ivf_lengths"]
        centroids = self.arrays.get("ivf_centroids", np.arange(len(lengths)))
        parts = np.split(self.arrays["ivf_pids"], np.cumsum(lengths)[:-1])
        return {int(c): p.tolist() for c, p in zip(centroids, parts, strict=True) if len(p)}

    def living(self):
        """Id -> document, with passages as (start, end, rows)."""
        ends = np.cumsum(self.arrays["doclens"], dtype=np.int64)
        spans = {}
        for pid, docno, ordinal, start, end in self.passages:
            require(docno == self.arrays["passage_document"][pid], "passage_document")
            rows = self.rows[ends[pid] - self.arrays["doclens"][pid] : ends[pid]]
            spans.setdefault(docno, []).append((start, end, rows))
            require(len(spans[docno]) == ordinal + 1, "ordinals")
        return {
            id: {
                "text": text, "language": language, "metadata": json.loads(metadata),
                "passages": spans[docno], "kind": self.ref["kind"],
                "sequence": self.sequence(docno),
            }
            for docno, id, language, metadata, text in self.documents
            if self.alive[docno]
        }  # fmt: skip


class Index:
    """The newest generation of an index."""

    def __init__(self, folder):
        folder = Path(folder).absolute()
        self.manifest = read_manifest(folder)
        self.codecs = [Codec(folder, ref) for ref in self.manifest["codecs"]]
        self.deletions, dead = {}, {}
        for ref in self.manifest["tombstones"]:
            parts = read_small(folder / "tombstones" / f"{ref['id']}.safetensors", ref["file"])
            ids = cut(parts["id_bytes"], parts["id_offsets"])
            self.deletions |= zip(ids, parts["id_sequences"].tolist(), strict=True)
            docnos = np.split(parts["row_docnos"], np.cumsum(parts["row_counts"])[:-1])
            for segment, numbers in zip(parts["row_segments"], docnos, strict=False):
                dead.setdefault(bytes(segment).hex(), []).extend(numbers.tolist())
        self.segments = [
            Segment(folder, ref, self.manifest, self._codec_of, dead.get(ref["id"], []))
            for ref in self.manifest["segments"]
        ]
        inbox = folder / "inbox"
        self.claims = sorted(int(p.name) for p in inbox.iterdir() if not p.stat().st_size)

    def _codec_of(self, segment):
        """The codec that a segment is read with: its own, or one that this was appended to."""
        for ref, codec in zip(self.manifest["codecs"], self.codecs, strict=True):
            if segment["codec"] in [ref["id"], *(prefix["id"] for prefix in ref["prefixes"])]:
                return codec
        return None

    def documents(self):
        """Id -> document."""
        found = {}
        for segment in self.segments:
            living = segment.living()
            require(not found.keys() & living.keys(), "a document is alive twice")
            found |= living
        return found
