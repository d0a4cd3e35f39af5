"""The BEIR layout: `corpus.jsonl`, `queries.jsonl` and tab-separated judgements.

Source: Thakur et al. 2021 (BEIR), section 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import InvalidInputError
from .lines import json_objects, tab_separated


def read(
    folder: Path, split: str
) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    """Return the documents, queries and judgements of a folder.

    Raises:
        InvalidInputError: a file is missing or malformed; names file and line.
    """
    documents = dict(_records(find(folder, "corpus.jsonl"), with_title=True))
    queries = dict(_records(find(folder, "queries.jsonl"), with_title=False))
    return documents, queries, read_qrels(find(folder, "qrels.tsv", f"qrels/{split}.tsv"))


def find(folder: Path, *names: str) -> Path:
    """Return the first of the files that exists, plain or gzipped.

    Raises:
        InvalidInputError: none of them does.
    """
    for name in names:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                return path
    raise InvalidInputError(f"{folder} has no {' or '.join(names)}, plain or gzipped.")


def document_text(title: str, text: str) -> str:
    """Join title and text with a space, as the published figures do."""
    return f"{title} {text}" if title.strip() else text


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Read lines of query id, document id and grade; a first line of headings is skipped.

    Raises:
        InvalidInputError: a line has too few fields or a grade that is no whole number.
    """
    qrels: dict[str, dict[str, int]] = {}
    for number, (query, document, grade) in tab_separated(path, 3):
        if number == 1 and not _is_integer(grade):
            continue
        if not _is_integer(grade):
            raise InvalidInputError(
                f"{path}, line {number}: the grade {grade!r} is no whole number."
            )
        qrels.setdefault(query, {})[document] = int(grade)
    return qrels


def _is_integer(text: str) -> bool:
    return text.strip().removeprefix("-").isdecimal()


def _records(path: Path, *, with_title: bool) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for number, record in json_objects(path):
        where = f"{path}, line {number}"
        id = _field(record, "_id", where)
        if id in seen:
            raise InvalidInputError(f"{where}: id {id!r} stands there a second time.")
        seen.add(id)
        text = _field(record, "text", where)
        if with_title:
            text = document_text(_field(record, "title", where, default=""), text)
        if text.strip():
            yield id, text


def _field(record: dict[str, Any], key: str, where: str, default: str | None = None) -> str:
    value = record.get(key, default)
    if isinstance(value, int) and not isinstance(value, bool) and key == "_id":
        return str(value)
    if not isinstance(value, str):
        raise InvalidInputError(f"{where}: {key!r} must be a string, not {value!r}.")
    return value
