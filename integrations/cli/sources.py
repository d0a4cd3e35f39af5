"""The files that a command line names, as a stream of documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from ...engine.documents import Document
from ...engine.errors import InvalidInputError
from ..files import FORMATS, FileOptions, FileProblem, SourceFile, find_files, read_files


class FileSource:
    """The documents of files and folders, and the problems met on the way.

    Args:
        paths: files and folders.
        root: what ids are relative to; None is the parent of each path.
        format: how to read every file; None goes by suffix.
        strict: raise at the first problem.
        options: which fields of records mean what.

    Raises:
        InvalidInputError: a path does not exist, or no file of a known kind is there.
    """

    def __init__(
        self,
        paths: list[Path],
        root: Path | None,
        format: str | None,
        strict: bool,
        options: FileOptions,
    ) -> None:
        self.problems: list[str] = []
        self._strict = strict
        self._options = options
        self._where = ", ".join(map(str, paths))
        self._seen: dict[str, set[str]] = {}
        self._damaged: set[Path] = set()
        self.files = find_files(paths, self._problem, root=root, format=format)

    def documents(self) -> Iterator[tuple[SourceFile, Document]]:
        """Read up to the first document, so that nothing is made where there is none.

        Raises:
            InvalidInputError: no file holds a document.
        """
        documents = self._noted(read_files(self.files, self._problem, self._options))
        first = next(documents, None)
        if first is None:
            reason = self.problems[0] if self.problems else f"formats: {', '.join(FORMATS)}"
            raise InvalidInputError(f"No documents found in {self._where} ({reason}).")
        return chain([first], documents)

    def outdated(self, ids: Iterable[str]) -> list[str]:
        """Which ids name parts, such as pages, that their file had once and has no more.

        A file that could not be read whole has none: what was not read may still be there.

        Args:
            ids: of the index.
        """
        whole = {f.name: self._seen.get(f.name) for f in self.files if f.path not in self._damaged}
        return [id for id in ids if (seen := whole.get(_file_of(id))) and id not in seen]

    def _noted(
        self, documents: Iterator[tuple[SourceFile, Document]]
    ) -> Iterator[tuple[SourceFile, Document]]:
        for file, document in documents:
            if _file_of(document.id) == file.name:
                self._seen.setdefault(file.name, set()).add(document.id)
            yield file, document

    def _problem(self, problem: FileProblem) -> None:
        if self._strict:
            raise InvalidInputError(problem.reason)
        self._damaged.add(problem.path)
        self.problems.append(problem.reason)


def _file_of(id: str) -> str:
    """The file's name in the id of a part, such as `report.pdf` in `report.pdf#3`; else empty."""
    name, mark, number = id.rpartition("#")
    return name if mark and number.isdecimal() else ""
