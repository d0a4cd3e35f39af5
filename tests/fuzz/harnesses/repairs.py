"""A harness of check and repair: damaged and forged indexes end sound, or refused by name."""

from __future__ import annotations

import os
from functools import cached_property

import weft
from weft.engine.errors import WeftError
from weft.engine.storage.checking.report import CheckReport

from .mutation import edited_bytes, edited_json, json_bytes
from .safetensors_files import edited_file
from .sample_index import (
    Files,
    build,
    documents,
    manifest_name,
    manifest_of,
    seal,
    sealed,
    unit_rows,
)
from .source import Source
from .storage import OverIndex
from .using import attempt, use

Texts = dict[str, str]

FORGED = ("arrays.safetensors", "checksums.safetensors", "codec.safetensors")


class Repair(OverIndex):
    """`check` and `repair` of an index some of whose files were changed, cut, lost or exchanged.

    Accidents leave checksums as they were, so that what a repair keeps must be what was written;
    forgeries have right ones, so that only the structure tells.
    """

    @cached_property
    def history(self) -> tuple[Files, Texts]:
        """An index of several generations, and the texts that the newest one holds."""
        path = self.folder / "history"
        build(path)
        with weft.Index.open(path, threads=1) as index:
            more = documents(200, 3)
            index.upsert(["another text"], ids=["d1"], embeddings=[unit_rows(3, 1)])
            index.add(more, embeddings=[unit_rows(3, n) for n in range(3)])
            index.delete(["d2", "d200"])
            texts = {found.id: found.text for found in index.get(list(index.ids())) if found}
        files = {
            file.relative_to(path).as_posix(): file.read_bytes()
            for file in path.rglob("*")
            if file.is_file()
        }
        return files, texts

    def run(self, data: bytes) -> None:
        source = Source(data)
        if source.flag():
            self._accident(source)
        else:
            self._forgery(source)
        self.index.forget()

    def _accident(self, source: Source) -> None:
        sound, texts = self.history
        files = dict(sound)
        self.index.put(files)
        for _ in source.edits():
            self._damage(source, sorted(sound))
        report = self._mended(source)
        if report is None:
            return
        with weft.Index.open(self.index.path, threads=1) as index:
            found = {hit.id: hit.text for hit in index.get(list(index.ids())) if hit}
        if report.newest_generation == report.generation == max(_generations(sound)):
            _require_told(texts, found, report)

    def _damage(self, source: Source, names: list[str]) -> None:
        """Change, cut, remove or exchange a file, or put something else in its place."""
        name = source.choice(names)
        path = self.index.path / name
        kind = source.below(8)
        present = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        if kind < 4:
            path.write_bytes(edited_bytes(source, present))
        elif kind == 4:
            path.write_bytes(self.history[0][source.choice(names)])
        elif kind == 5:
            place = source.below(3)
            if place == 0:
                path.mkdir()
            elif place == 1:
                os.mkfifo(path)
            else:
                path.symlink_to(source.choice(("/nowhere", ".", path.name)))

    def _forgery(self, source: Source) -> None:
        self.choose(source)
        files, manifest = dict(self.files), manifest_of(self.files)
        changed = set()
        for _ in source.edits():
            # Most edits of a manifest make it one that cannot be read, and nothing to repair.
            if source.flag(6):
                manifest = edited_json(source, manifest)
                continue
            name = source.choice(
                [n for n in sorted(files) if n.endswith(FORGED) or n.startswith("tombstones/")]
            )
            files[name] = edited_file(source, files[name])
            changed.add(name)
        try:
            files = seal(files, changed, manifest)
        except (LookupError, TypeError, AttributeError):
            files[manifest_name(files)] = sealed(json_bytes(manifest))
        self.index.put(files)
        self._mended(source)

    def _mended(self, source: Source) -> CheckReport | None:
        """Check and repair; None where the index is refused, else it has to be sound by then.

        What an index that checks sound raises afterwards is a refusal by name, as ever.
        """
        report = attempt(lambda: weft.check(self.index.path))
        try:
            repaired = weft.repair(self.index.path)
        except WeftError:
            return None
        after = weft.check(self.index.path)
        if not after.ok:
            raise AssertionError(f"damaged after a repair: {after.damage} (before: {report})")
        use(self.index.path, source)
        return repaired.check


def _generations(files: Files) -> list[int]:
    names = [name.split(".") for name in files if name.startswith("manifest.")]
    return [int(name[1]) for name in names]


def _require_told(before: Texts, found: Texts, report: CheckReport) -> None:
    """What is missing was told as lost, and what is back as what may be."""
    # Where the younger row is lost together with the file that told of it, the older one is back.
    older = {id for id in found.keys() & before.keys() if found[id] != before[id]}
    named = {id for part in report.lost for id in part.ids}
    unnamed = sum(part.n_unnamed for part in report.lost)
    missing = ((before.keys() - found.keys()) | older) - named
    if len(missing) > unnamed:
        raise AssertionError(f"{missing} are gone, {unnamed} were told without their names")
    back = (found.keys() - before.keys()) | older
    if len(back) > report.n_may_reappear:
        raise AssertionError(f"{back} are back, {report.n_may_reappear} were told")
