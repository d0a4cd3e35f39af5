"""Harnesses of the readers below the index: manifest, tensors, codec, tombstones, names."""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cached_property

import numpy as np

from weft.engine.codec import Codec
from weft.engine.errors import WeftError
from weft.engine.storage.collection import collect
from weft.engine.storage.directory import LocalDirectory
from weft.engine.storage.manifest_decoding import decode_manifest
from weft.engine.storage.tensors import read_header

from .base import Harness
from .mutation import edited_bytes, edited_json, json_bytes
from .safetensors_files import MalformedError, edited_file, tensors_of
from .sample_index import (
    Files,
    IndexFolder,
    build,
    manifest_name,
    manifest_of,
    seal,
    sealed,
    unit_rows,
)
from .source import Source
from .using import attempt, maintain, use


class OverIndex(Harness):
    """A harness that edits files of the small index."""

    @cached_property
    def indexes(self) -> tuple[Files, Files]:
        """The unedited files of a coded index and of a flat one."""
        return build(self.folder / "coded"), build(self.folder / "flat", flat=True)

    @cached_property
    def files(self) -> Files:
        """The index that is edited now."""
        return self.indexes[0]

    def choose(self, source: Source) -> None:
        """Edit the flat index this time, or mostly the coded one."""
        self.files = self.indexes[int(source.flag(4))]

    @cached_property
    def index(self) -> IndexFolder:
        """Where edited ones are put."""
        return IndexFolder(self.folder / "edited")

    def named(self, part: str) -> list[str]:
        """Names of files that end so."""
        return sorted(name for name in self.files if name.endswith(part))

    def serve(self, files: Files, source: Source, *, change: bool = False) -> None:
        """Use an index of these files; with `change`, let it be written to as well."""
        self.index.put(files)
        use(self.index.path, source, mmap=not source.flag(8))
        if change:
            maintain(self.index.path)
            self.index.forget()


class ManifestBytes(Harness):
    """`decode_manifest` on bytes with a sound checksum, and on JSON of any form."""

    @cached_property
    def manifest(self) -> dict:
        """A manifest with codec, segments, tombstones and an encoder."""
        value = manifest_of(build(self.folder / "made"))
        value["encoder"] = {"name": "x", "content_hash": "0" * 32, "dim": 8, "details": {"a": [1]}}
        value["applied_above"] = [[10, 12], [14, 14]]
        value["next_sequence"] = 20
        return value

    def run(self, data: bytes) -> None:
        source = Source(data)
        if source.flag(4):
            return self._decode(sealed(source.rest()))
        value = self.manifest
        for _ in source.edits():
            value = edited_json(source, value)
        covered = json_bytes(value)
        return self._decode(edited_bytes(source, covered) if source.flag(8) else sealed(covered))

    def _decode(self, data: bytes) -> None:
        found = attempt(lambda: decode_manifest(data, "manifest"))
        if found is not None:
            again = decode_manifest(found.encode(), "manifest")
            if again != found:
                raise AssertionError(f"{found} was written and read again as {again}")


class TensorFile(Harness):
    """`read_header` on bytes and on edited headers; every tensor found is read."""

    @cached_property
    def sound(self) -> bytes:
        """A file of several tensors."""
        files = build(self.folder / "made")
        return next(data for name, data in files.items() if name.startswith("tombstones/"))

    def run(self, data: bytes) -> None:
        source = Source(data)
        if source.flag(4):
            header = source.take(source.below(256))
            content = len(header).to_bytes(8, "little") + header + source.rest()
        else:
            content = self.sound
            for _ in source.edits():
                content = edited_file(source, content)
        file = np.frombuffer(content, dtype=np.uint8)
        for found in (attempt(lambda: read_header(file, "file")) or {}).values():
            tensor = found.of(file)
            if tensor.nbytes > len(content):
                raise AssertionError("a tensor is larger than its file")
            tensor.tobytes()


class CodecFile(OverIndex):
    """The codec's file, checked, and used to compress and to search."""

    def run(self, data: bytes) -> None:
        source = Source(data)
        (name,) = self.named("codec.safetensors")
        content = self.files[name]
        for _ in source.edits():
            content = edited_file(source, content)
        with suppress(MalformedError, WeftError):
            codec = Codec.from_tensors(tensors_of(content))
            packed = codec.compress(unit_rows(20, 1, codec.dim), threads=1)
            codec.decompress(packed.codes, packed.residuals, packed.inverse_norms, threads=1)
        self.serve(seal({**self.files, name: content}, {name}), source)


class TombstoneFile(OverIndex):
    """Tombstone files: ids, sequences and the rows they name."""

    def run(self, data: bytes) -> None:
        source = Source(data)
        self.choose(source)
        name = source.choice([n for n in self.files if n.startswith("tombstones/")])
        content = self.files[name]
        for _ in source.edits():
            content = edited_file(source, content)
        manifest = manifest_of(self.files)
        if source.flag():
            _fit_counts(manifest, name, content)
        files = seal({**self.files, name: content}, {name}, manifest)
        self.serve(files, source, change=source.flag(8))


def _fit_counts(manifest: dict, name: str, content: bytes) -> None:
    """Let the manifest agree with the lengths of an edited tombstone file."""
    try:
        tensors = tensors_of(content)
        ref = next(t for t in manifest["tombstones"] if t["id"] in name)
        ref["n_ids"] = len(tensors["id_sequences"])
        ref["n_rows"] = len(tensors["row_docnos"])
    except (MalformedError, LookupError, TypeError):
        return


class ChecksumTable(OverIndex):
    """A segment's table of checksums, itself with a sound checksum."""

    def run(self, data: bytes) -> None:
        source = Source(data)
        self.choose(source)
        name = source.choice(self.named("checksums.safetensors"))
        content = self.files[name]
        for _ in source.edits():
            content = edited_file(source, content)
        self.serve(seal({**self.files, name: content}, {name}), source)


class Names(OverIndex):
    """Names of an attacker's choice in `pins/`, `inbox/`, `tombstones/` and the root."""

    def run(self, data: bytes) -> None:
        source = Source(data)
        self.index.put(self.files)
        for _ in source.edits():
            folder = source.choice(("pins", "inbox", "tombstones", "segments", "codec", "", "tmp."))
            self._plant(source, folder)
        directory = LocalDirectory(self.index.path, durable=False)
        use(self.index.path, source)
        if source.flag(4):
            maintain(self.index.path)
        attempt(lambda: collect(directory, superseded_seconds=0, staged_seconds=0, pin_seconds=0))
        self.index.forget()

    def _plant(self, source: Source, folder: str) -> None:
        number = str(source.number()) if source.flag() else f"{source.number() % 10**16:016d}"
        names = (number, f"{number}.{'0' * 32}", source.text(), f"manifest.{number}.json", ".x")
        name = source.choice(names).replace("/", "_").replace("\0", "")[:200]
        path = (
            self.index.path / folder / name if folder != "tmp." else self.index.path / f"tmp.{name}"
        )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            kind = source.below(4)
            if kind == 1:
                path.mkdir()
            elif kind == 3:
                os.mkfifo(path)
            elif kind == 2:
                path.symlink_to(source.choice(("/nowhere", ".", "..", "/dev/zero")))
            elif name and not path.exists():
                path.write_bytes(source.take(source.below(16)))
        except (OSError, UnicodeEncodeError):
            return


class ManifestOfIndex(OverIndex):
    """An edited manifest over sound files: every count, length and id may lie."""

    def run(self, data: bytes) -> None:
        source = Source(data)
        self.choose(source)
        value = manifest_of(self.files)
        for _ in source.edits():
            value = edited_json(source, value)
        files = dict(self.files)
        files[manifest_name(files)] = sealed(json_bytes(value))
        self.serve(files, source, change=source.flag(8))
