"""What a caller may choose about reading files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...engine.documents import Document
from ...engine.errors import InvalidInputError

Items = Iterator[Document | InvalidInputError]
"""What a reader yields: documents, and an error for each record that cannot be one."""


@dataclass(frozen=True, slots=True)
class FileOptions:
    """Which fields of JSON lines and tables mean what.

    Args:
        id_field: field with the document id; None tries `id` and `_id`, and else numbers the
            records.
        text_fields: fields whose values are the text, joined by blank lines; empty tries
            `text`, `content` and `body`.
        title_field: field put before the text; `title` by default, where there is one.
        number_fields: columns of tables that are stored as numbers; everything else in a
            table is text.
    """

    id_field: str | None = None
    text_fields: tuple[str, ...] = ()
    title_field: str = "title"
    number_fields: tuple[str, ...] = ()
