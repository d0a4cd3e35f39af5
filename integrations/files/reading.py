"""Find the files under the paths that a user names, and read them one by one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...engine.documents import Document
from ...engine.errors import DuplicateDocumentError, InvalidInputError
from ...engine.validation import check_document
from .options import FileOptions
from .registry import SUFFIXES, format_of, reader_for


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to read.

    Args:
        path: where it is.
        name: its path relative to the root, with `/`: the id of its document.
        format: one of `registry.FORMATS`.
        n_bytes: its size.
    """

    path: Path
    name: str
    format: str
    n_bytes: int


@dataclass(frozen=True, slots=True)
class FileProblem:
    """A file, or a record in it, that was left out, and why."""

    path: Path
    reason: str


OnProblem = Callable[[FileProblem], None]


def find_files(
    paths: Sequence[Path],
    on_problem: OnProblem,
    *,
    root: Path | None = None,
    format: str | None = None,
) -> list[SourceFile]:
    """List the files under `paths` in a fixed order.

    In folders, hidden files, files of unknown kinds and links to folders (which may form
    loops) are passed over.

    Args:
        paths: files and folders.
        on_problem: told about links that are not followed and files that cannot be read.
        root: ids are relative to this folder; None is the parent of each path, so that ids
            begin with the folder's own name and two folders do not mix.
        format: read every file so, whatever its suffix.

    Raises:
        InvalidInputError: a path does not exist, or a file's kind is not known.
        DuplicateDocumentError: two files would have the same id.
    """
    if format is not None:
        reader_for(format)
    found: dict[str, SourceFile] = {}
    places: set[Path] = set()
    for path in paths:
        for source in _under(path, on_problem, root, format):
            place = source.path.parent.resolve() / source.path.name
            if place in places:
                continue
            places.add(place)
            other = found.setdefault(source.name, source)
            if other is not source and other.path.resolve() != source.path.resolve():
                raise DuplicateDocumentError(
                    f"{other.path} and {source.path} would both be named {source.name!r}: pass "
                    "--root with a folder that holds both."
                )
    return list(found.values())


def _under(
    path: Path, on_problem: OnProblem, root: Path | None, format: str | None
) -> Iterator[SourceFile]:
    if path.is_dir():
        for file in _walk(path, on_problem):
            kind = format or format_of(file)
            if kind is not None:
                yield from _source(file, root or path.resolve().parent, kind, on_problem)
        return
    if not path.exists():
        raise InvalidInputError(f"{path} does not exist.")
    kind = format or format_of(path)
    if kind is None:
        raise InvalidInputError(
            f"{path} is of no known kind ({', '.join(SUFFIXES)}): name it with --format, "
            "'--format text' for plain text."
        )
    yield from _source(path, root or path.parent, kind, on_problem)


def _walk(folder: Path, on_problem: OnProblem) -> Iterator[Path]:
    def report(error: OSError) -> None:
        where = Path(os.fsdecode(error.filename or folder))
        on_problem(FileProblem(where, f"{where} cannot be read: {error.strerror}."))

    for base, folders, files in os.walk(folder, onerror=report):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            link = Path(base, name)
            if link.is_symlink():
                on_problem(FileProblem(link, f"{link} is a link to a folder: not followed."))
        yield from (Path(base, name) for name in sorted(files) if not name.startswith("."))


def _source(path: Path, root: Path, format: str, on_problem: OnProblem) -> Iterator[SourceFile]:
    try:
        regular, n_bytes = path.is_file(), path.stat().st_size
        absolute = path.parent.resolve() / path.name
        name = absolute.relative_to(root.resolve()).as_posix()
    except OSError as error:
        on_problem(FileProblem(path, f"{path} cannot be read: {error.strerror or error}."))
        return
    except ValueError as error:
        raise InvalidInputError(f"{path} does not lie under the root {root}.") from error
    if not regular:
        on_problem(FileProblem(path, f"{path} is no regular file."))
        return
    yield SourceFile(path, name, format, n_bytes)


def read_file(source: SourceFile, options: FileOptions) -> Iterator[Document | InvalidInputError]:
    """Yield a file's documents, checked, and an error for each that is unusable.

    Raises:
        MissingDependencyError: the reader of this format needs a package.
    """
    items = reader_for(source.format)(source.path, source.name, options)
    try:
        for item in items:
            yield _checked(item, source) if isinstance(item, Document) else item
    except InvalidInputError as error:
        yield error


def _checked(document: Document, source: SourceFile) -> Document | InvalidInputError:
    try:
        check_document(document, text_required=True)
    except InvalidInputError as error:
        return InvalidInputError(f"{source.path}: {error}")
    return document


def read_files(
    files: Iterable[SourceFile], on_problem: OnProblem, options: FileOptions | None = None
) -> Iterator[tuple[SourceFile, Document]]:
    """Yield the documents of all files; each id once.

    Args:
        on_problem: told about each file or record that is left out; may raise.

    Raises:
        MissingDependencyError: a reader needs a package that is not installed.
    """
    seen: set[str] = set()
    for source in files:
        for item in read_file(source, options or FileOptions()):
            if isinstance(item, InvalidInputError):
                on_problem(FileProblem(source.path, str(item)))
            elif item.id in seen:
                reason = f"{source.path}: id {item.id!r} was read before; the first is kept."
                on_problem(FileProblem(source.path, reason))
            else:
                seen.add(item.id)
                yield source, item
