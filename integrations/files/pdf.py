"""PDF, one document per page, through the pypdf package (extra `pdf`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...engine.errors import InvalidDocumentError, MissingDependencyError, WeftError
from .options import FileOptions, Items
from .text import document


def read(path: Path, name: str, options: FileOptions) -> Items:
    """Yield a document per page that has text, numbered from 1, and an error per bad page.

    Raises:
        MissingDependencyError: pypdf is not installed.
        InvalidDocumentError: the file is damaged, encrypted, or holds pictures only.
    """
    reader = _open(path)
    with _parsing(path):
        title = str((reader.metadata or {}).get("/Title") or "").strip()
        n_pages = len(reader.pages)
    n_read = 0
    for page in range(1, n_pages + 1):
        try:
            text = _page_text(reader, page, path)
        except InvalidDocumentError as error:
            yield error
            continue
        if text.strip():
            n_read += 1
            yield document(name, text, "pdf", title, page=page)
    if n_read == 0:
        raise InvalidDocumentError(
            f"{path} holds no text: its pages are pictures. Run it through OCR first, with "
            "ocrmypdf for example."
        )


def _open(path: Path) -> Any:
    try:
        import pypdf
    except ImportError as error:
        raise MissingDependencyError(
            f"{path} needs the package pypdf: pip install 'weft[pdf]'."
        ) from error
    with _parsing(path):
        reader = pypdf.PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise InvalidDocumentError(f"{path} is encrypted: save a copy without its password.")
        return reader


def _page_text(reader: Any, page: int, path: Path) -> str:
    with _parsing(f"{path}, page {page}"):
        text: str = reader.pages[page - 1].extract_text()
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


@contextmanager
def _parsing(where: object) -> Iterator[None]:
    """Turn what the parser raises on damaged bytes, which may be anything, into our error."""
    try:
        yield
    except WeftError:
        raise
    except Exception as error:
        raise InvalidDocumentError(
            f"{where} cannot be read as PDF ({type(error).__name__}: {error})."
        ) from error
