"""The texts behind ids: files of queries and of passages, read at need.

Two forms, told apart by their names: tab-separated `id <tab> text [<tab> title]` (`.tsv`), and
JSON lines with `_id` or `id`, `text`, and perhaps `title` and `language` (`.jsonl`); either may
be gzipped, and is then kept in memory.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import InvalidInputError, InvalidTrainingDataError
from ..evaluation.beir import document_text
from ..evaluation.lines import json_object, json_objects, raw_lines
from ..shown import shown


@dataclass(frozen=True, slots=True)
class Languages:
    """BCP-47 tags of the documents and of the queries that have one, by id."""

    documents: Mapping[str, str]
    queries: Mapping[str, str]


NO_LANGUAGES: Final = Languages({}, {})


@dataclass(frozen=True, slots=True)
class Text:
    """One record: its text, title included, and a BCP-47 language tag where it has one."""

    text: str
    language: str | None
    where: str


class Texts(Mapping[str, str]):
    """Texts by id. Only the places of an uncompressed file's lines are kept in memory.

    Args:
        path: a `.tsv` or `.jsonl` file, perhaps gzipped.

    Attributes:
        fingerprint: tells other texts from these.

    Raises:
        InvalidTrainingDataError: the file cannot be read, or a line is malformed or repeats an
            id; names file and line.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        kinds = [suffix for suffix in self.path.suffixes if suffix in (".tsv", ".jsonl")]
        if not kinds:
            raise InvalidTrainingDataError(
                f"{self.path}: texts are read from .tsv or .jsonl files (perhaps .gz), told by name"
            )
        self._tabular = kinds[-1] == ".tsv"
        self._packed = self.path.suffix == ".gz"
        self._places: dict[str, int] = {}
        self._offsets, self._lines = array("q"), array("q")
        self._kept: dict[str, Text] = {}
        self.fingerprint = self._read()

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __getitem__(self, id: str) -> str:
        return self.record(id).text

    def record(self, id: str) -> Text:
        """Text and language of an id; KeyError where the file has none."""
        if self._packed:
            return self._kept[id]
        place = self._places[id]
        with self.path.open("rb") as file:
            file.seek(self._offsets[place])
            return self._parse(file.readline(), self._lines[place])[1]

    def _read(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        offset = 0
        try:
            for line, raw in enumerate(raw_lines(self.path), 1):
                digest.update(raw)
                if raw.strip():
                    self._take(raw, line, offset)
                offset += len(raw)
        except InvalidInputError as error:
            raise InvalidTrainingDataError(str(error)) from error
        if not self._places:
            raise InvalidTrainingDataError(f"{self.path} holds no text")
        return digest.hexdigest()

    def _take(self, raw: bytes, line: int, offset: int) -> None:
        id, found = self._parse(raw, line)
        if id in self._places:
            raise InvalidTrainingDataError(f"{found.where}: id {shown(id)} stands there twice")
        self._places[id] = len(self._places)
        if self._packed:
            self._kept[id] = found
        else:
            self._offsets.append(offset)
            self._lines.append(line)

    def _parse(self, raw: bytes, line: int) -> tuple[str, Text]:
        where = f"{self.path}, line {line}"
        try:
            text = raw.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise InvalidTrainingDataError(f"{where} is not UTF-8; convert the file") from error
        return _row(text, where) if self._tabular else _record(text, where)


class TextMapping(Mapping[str, str]):
    """Texts that are in memory already, with the same methods as `Texts`.

    Args:
        texts: by id.
        name: for messages.
        languages: id to BCP-47 tag, of those that have one.
    """

    def __init__(
        self,
        texts: Mapping[str, str],
        name: str = "texts",
        languages: Mapping[str, str] | None = None,
    ) -> None:
        self._texts, self.path, self._languages = texts, Path(name), languages or {}

    @property
    def fingerprint(self) -> str:
        """Tells other texts from these."""
        return texts_digest(self._texts) + texts_digest(self._languages)

    def __len__(self) -> int:
        return len(self._texts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._texts)

    def __getitem__(self, id: str) -> str:
        return self._texts[id]

    def record(self, id: str) -> Text:
        """Text and language of an id; KeyError where there is none."""
        return Text(self._texts[id], self._languages.get(id), f"{self.path}, {id!r}")


def read_languages(path: Path) -> dict[str, str]:
    """The BCP-47 tags in the `language` fields of JSON lines, by id.

    Raises:
        InvalidTrainingDataError: a tag is no string; names file and line.
    """
    found: dict[str, str] = {}
    for number, record in json_objects(path):
        language = _language(record, f"{path}, line {number}")
        if language is not None:
            found[str(record.get("_id", record.get("id")))] = language
    return found


def texts_digest(texts: Mapping[str, str]) -> str:
    """Tells other texts from these: a digest of ids and texts in their order."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (part for item in texts.items() for part in item):
        content = part.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def write_texts(
    path: Path, texts: Mapping[str, str], languages: Mapping[str, str] | None = None
) -> None:
    """Write texts, with their languages where they have one, as JSON lines, whole or not at all."""
    aside = path.with_name(path.name + ".part")
    with aside.open("w", encoding="utf-8") as file:
        file.writelines(text_lines(texts, languages or {}))
    aside.replace(path)


def text_lines(texts: Mapping[str, str], languages: Mapping[str, str]) -> Iterator[str]:
    """Texts as lines of JSON, their line breaks included."""
    for id, text in texts.items():
        record = {"_id": id, "text": text}
        if id in languages:
            record["language"] = languages[id]
        yield json.dumps(record, ensure_ascii=False) + "\n"


def _row(line: str, where: str) -> tuple[str, Text]:
    fields = line.rstrip("\r\n").split("\t")
    if not 2 <= len(fields) <= 3 or not fields[0]:
        raise InvalidTrainingDataError(
            f"{where} has {len(fields)} fields between tabs: it must look like "
            "id <tab> text [<tab> title]"
        )
    title = fields[2] if len(fields) > 2 else ""
    return fields[0], _text(document_text(title, fields[1]), None, where)


def _record(line: str, where: str) -> tuple[str, Text]:
    try:
        record = json_object(line, where)
    except InvalidInputError as error:
        raise InvalidTrainingDataError(str(error)) from error
    id = record.get("_id", record.get("id"))
    if isinstance(id, int) and not isinstance(id, bool):
        id = str(id)
    if not isinstance(id, str) or not id:
        raise InvalidTrainingDataError(f"{where}: '_id' must be a string, not {shown(id)}")
    title = _string(record, "title", where, "")
    text = document_text(title, _string(record, "text", where, None))
    return id, _text(text, _language(record, where), where)


def _string(record: dict[str, Any], key: str, where: str, default: str | None) -> str:
    value = record.get(key, default)
    if not isinstance(value, str):
        raise InvalidTrainingDataError(f"{where}: {key!r} must be a string, not {shown(value)}")
    return value


def _language(record: dict[str, Any], where: str) -> str | None:
    value = record.get("language")
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise InvalidTrainingDataError(
            f"{where}: 'language' is {shown(value)}; give a tag such as 'de', or leave it out"
        )
    return value


def _text(text: str, language: str | None, where: str) -> Text:
    if not text.strip():
        raise InvalidTrainingDataError(f"{where} has an empty text")
    return Text(text, language, where)
