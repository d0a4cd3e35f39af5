"""Texts that every Debian machine can fetch: three dictionaries and a long FAQ; or given ones.

`fetch(layout)` downloads and unpacks the packages (no root needed; run `apt-get update` once where
there are no package lists); `documents(layout)` reads them in a fixed order. `read_collection`
reads a test collection instead.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from .layout import CorpusError, Layout

DICTIONARIES = ("gcide", "foldoc", "jargon")
FAQ = "anarchism"
PACKAGES = (*(f"dict-{name}" for name in DICTIONARIES), FAQ)
ENTRIES_PER_DOCUMENT = 200

_BASE64 = {
    digit: value
    for value, digit in enumerate(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    )
}
# Marks of where an entry was taken from; they would make every second passage alike.
_ORIGIN = re.compile(r"\[[^\[\]\n]*(?:Webster|WordNet|Century Dict|PJC|Suppl)[^\[\]\n]*\]")
_PRONUNCIATION = re.compile(r"\\[^\\\n]{1,80}\\")
_BRACES = re.compile(r"[{}]")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class Document:
    """A stretch of running text that passages are cut from.

    Args:
        source: package that it comes from.
        text: words with single spaces between them.
    """

    source: str
    text: str


def fetch(layout: Layout) -> list[str]:
    """Download and unpack what is missing.

    Returns:
        File names of the packages, which tell their versions.

    Raises:
        CorpusError: a package cannot be had.
    """
    layout.packages.mkdir(parents=True, exist_ok=True)
    missing = [name for name in PACKAGES if not _package(layout, name)]
    if missing:
        _run(["apt-get", "download", *missing], layout.packages)
    files = [file for name in PACKAGES for file in _package(layout, name)[-1:]]
    if len(files) != len(PACKAGES):
        raise CorpusError(f"not all of {', '.join(PACKAGES)} are in {layout.packages}")
    for file in files:
        _run(["dpkg-deb", "-x", str(file.resolve()), str(layout.unpacked.resolve())], layout.cache)
    return [file.name for file in files]


def _package(layout: Layout, name: str) -> list[Path]:
    return sorted(layout.packages.glob(f"{name}_*.deb"))


def _run(command: list[str], folder: Path) -> None:
    """Run a command of Debian's; its own message says what is wrong."""
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise CorpusError(f"{command[0]} is missing: the corpus is made on Debian") from error
    except subprocess.CalledProcessError as error:
        raise CorpusError(
            f"{' '.join(command)} failed: {error.stderr.strip()}; try `apt-get update` first"
        ) from error


def documents(layout: Layout) -> Iterator[Document]:
    """All documents of all packages, in the same order every time."""
    share = layout.unpacked / "usr" / "share"
    for name in DICTIONARIES:
        entries = list(_entries(share / "dictd" / f"{name}.index"))
        for start in range(0, len(entries), ENTRIES_PER_DOCUMENT):
            text = "\n".join(entries[start : start + ENTRIES_PER_DOCUMENT])
            yield Document(f"dict-{name}", _SPACE.sub(" ", text).strip())
    for page in sorted((share / "doc" / FAQ / "html").glob("*.html")):
        yield Document(FAQ, _SPACE.sub(" ", _text_of(page)).strip())


def read_collection(file: Path) -> Iterator[Document]:
    """Title and text of each document of a collection in BEIR's layout, a gzipped JSON line each.

    Raises:
        CorpusError: the file cannot be read, or a line is no such document.
    """
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                text = f"{record.get('title', '')} {record['text']}"
                yield Document(file.parent.name, _SPACE.sub(" ", text).strip())
    except (OSError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise CorpusError(f"{file} is no gzipped collection: {error!r}") from error


def _entries(index: Path) -> Iterator[str]:
    """Entries of a dictd dictionary in the order of its text; .dz is gzip with a seek table."""
    spans = set()
    for line in index.read_text(encoding="utf-8", errors="replace").splitlines():
        word, start, length = line.split("\t")[:3]
        if not word.startswith("00"):
            spans.add((_number(start), _number(length)))
    with gzip.open(index.with_suffix(".dict.dz")) as file:
        data = file.read()
    for begin, size in sorted(spans):
        yield _clean(data[begin : begin + size].decode("utf-8", errors="replace"))


def _number(digits: str) -> int:
    """A number of the index: base 64, the highest digit first."""
    value = 0
    for digit in digits:
        value = value * 64 + _BASE64[digit]
    return value


def _clean(entry: str) -> str:
    """An entry without marks of origin, pronunciations and braces around cross-references."""
    for pattern in (_ORIGIN, _PRONUNCIATION, _BRACES):
        entry = pattern.sub(" " if pattern is not _BRACES else "", entry)
    return entry


class _Words(HTMLParser):
    """Collects what a browser would show."""

    HIDDEN = frozenset({"script", "style", "head"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden += tag in self.HIDDEN
        if tag in ("p", "br", "li", "div", "h1", "h2", "h3", "h4"):
            self.parts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        self.hidden = max(0, self.hidden - (tag in self.HIDDEN))

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(data)


def _text_of(page: Path) -> str:
    parser = _Words()
    parser.feed(page.read_text(encoding="utf-8", errors="replace"))
    parser.close()
    return "".join(parser.parts)
