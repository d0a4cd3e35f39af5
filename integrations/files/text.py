"""Plain text and reStructuredText; and what all readers of whole files share."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ...engine import limits
from ...engine.documents import Document
from ...engine.errors import InvalidDocumentError
from .options import FileOptions, Items

TITLE_CHARACTERS: Final = 200
_BYTE_ORDER_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


def read(path: Path, name: str, options: FileOptions) -> Items:
    """Yield the file as one document; its first line is the title."""
    text = decode(read_bytes(path), path)
    title = next((line.strip() for line in text.splitlines() if line.strip()), "")
    yield document(name, text, "text", title)


def document(name: str, text: str, format: str, title: str, *, page: int | None = None) -> Document:
    """Make a document with the metadata that every reader of whole files records."""
    metadata: dict[str, object] = {"path": name, "format": format}
    if title:
        metadata["title"] = title[:TITLE_CHARACTERS]
    if page is None:
        return Document(name, text, metadata)
    return Document(f"{name}#{page}", text, {**metadata, "page": page})


def titled(title: str, text: str) -> str:
    """Put the title before the text unless the text begins with it."""
    title = title.strip()
    if not title or text.lstrip().startswith(title):
        return text
    return f"{title}\n\n{text}"


def read_bytes(path: Path, *, factor: int = 4) -> bytes:
    """Read a file that will be one document.

    Args:
        factor: bytes that a character of text may take in this format, markup included.

    Raises:
        InvalidDocumentError: the file cannot be read, or is larger than any document may be.
    """
    bound = limits.MAX_DOCUMENT_CHARACTERS * factor
    try:
        size = path.stat().st_size
        if size > bound:
            raise InvalidDocumentError(
                f"{path} has {size:,} bytes, more than a document of at most "
                f"{limits.MAX_DOCUMENT_CHARACTERS:,} characters takes: split the file."
            )
        return path.read_bytes()
    except OSError as error:
        raise InvalidDocumentError(f"{path} cannot be read: {error.strerror or error}.") from error


def decode(data: bytes, path: Path) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Raises:
        InvalidDocumentError: the bytes are something else; names the file and the offset.
    """
    if data[:2] in _BYTE_ORDER_MARKS:
        raise InvalidDocumentError(f"{path} is UTF-16: convert it to UTF-8, with iconv -t UTF-8.")
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise InvalidDocumentError(
            f"{path}: byte {data[error.start]:#04x} at offset {error.start:,} is not UTF-8. "
            "Convert the file, with iconv -f LATIN1 -t UTF-8 for example."
        ) from error
