"""A progress bar over the bytes of files that are being read."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from ...engine.documents import Document
from ..files import SourceFile
from .output import err


class FileProgress:
    """Shows how much of the files is indexed; on stderr, and only on a terminal.

    Within a file the bar goes by the text taken from it, which is about as long as the file.
    """

    def __init__(self, files: Sequence[SourceFile]) -> None:
        self._progress = Progress(
            TextColumn("Indexing"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            console=err,
            disable=not err.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("", total=max(1, sum(f.n_bytes for f in files)))
        self._starts: dict[str, int] = {}
        position = 0
        for file in files:
            self._starts[file.name] = position
            position += file.n_bytes
        self._current = ""
        self._within = 0
        self._position = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def read(self, file: SourceFile, document: Document) -> None:
        """Note that a document of a file was read; it shows once it is committed."""
        if file.name != self._current:
            self._current, self._within = file.name, 0
        self._within = min(file.n_bytes, self._within + len(document.text))
        self._position = self._starts[file.name] + self._within

    def committed(self, documents: int, passages: int) -> None:
        """Show everything read so far as done."""
        text = f"{documents:,} documents, {passages:,} passages"
        self._progress.update(self._task, completed=self._position, description=text)

    def finished(self, documents: int, passages: int) -> None:
        """Show the bar full."""
        total = self._progress.tasks[0].total
        self._position = int(total or 0)
        self.committed(documents, passages)
