"""From a record of JSON lines or of a table to a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...engine.documents import Document
from ...engine.errors import InvalidDocumentError
from .options import FileOptions
from .text import titled

ID_FIELDS: Final = ("id", "_id")
TEXT_FIELDS: Final = ("text", "content", "body")


def to_document(
    record: Mapping[str, Any], where: str, name: str, number: int, options: FileOptions
) -> Document:
    """Make a document: id, title and text by the options, all other fields as metadata.

    A field `metadata` that holds an object is merged into the metadata.

    Args:
        where: file and line, for messages.
        name: the file's name in the index.
        number: with the name, the id of a record that has none.

    Raises:
        InvalidDocumentError: the id or the text is missing or of the wrong type.
    """
    id_field = _id_field(record, where, options)
    text_fields = _text_fields(record, where, options)
    id = f"{name}#{number}" if id_field is None else _id(record[id_field], id_field, where)
    parts = [_text(record[field], field, where) for field in text_fields]
    title = record.get(options.title_field)
    text = titled(title if isinstance(title, str) else "", "\n\n".join(filter(None, parts)))
    used = {id_field, *text_fields}
    return Document(id, text, _metadata(record, used, name))


def _id_field(record: Mapping[str, Any], where: str, options: FileOptions) -> str | None:
    if options.id_field is not None:
        if options.id_field not in record:
            raise InvalidDocumentError(f"{where} has no field {options.id_field!r} for its id.")
        return options.id_field
    return next((field for field in ID_FIELDS if record.get(field) not in (None, "")), None)


def _text_fields(record: Mapping[str, Any], where: str, options: FileOptions) -> tuple[str, ...]:
    fields = options.text_fields or tuple(f for f in TEXT_FIELDS if f in record)[:1]
    missing = [field for field in fields if field not in record]
    if not fields or missing:
        wanted = missing[0] if missing else TEXT_FIELDS[0]
        raise InvalidDocumentError(
            f"{where} has no field {wanted!r} for its text, only "
            f"{', '.join(map(repr, list(record)[:8])) or 'no field at all'}. Name the right one "
            "with --text-field."
        )
    return fields


def _id(value: object, field: str, where: str) -> str:
    if isinstance(value, str | int) and not isinstance(value, bool):
        return str(value)
    raise InvalidDocumentError(f"{where}: the id in {field!r} is no text or number: {value!r}.")


def _text(value: object, field: str, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidDocumentError(f"{where}: {field!r} is no text but {type(value).__name__}.")
    return value


def _metadata(record: Mapping[str, Any], used: set[str | None], name: str) -> dict[str, Any]:
    rest = {field: value for field, value in record.items() if field not in used}
    nested = rest.get("metadata")
    if isinstance(nested, Mapping):
        del rest["metadata"]
        rest.update(nested)
    return {"path": name, **rest}
