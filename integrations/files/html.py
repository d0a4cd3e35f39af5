"""The readable text of HTML pages, by the parser of the standard library."""

from __future__ import annotations

import codecs
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

from ...engine.errors import InvalidDocumentError
from .options import FileOptions, Items
from .text import decode, document, read_bytes, titled

HIDDEN: Final = frozenset({"script", "style", "template", "noscript", "svg"})
_INLINE = re.compile(
    "a|abbr|b|bdi|bdo|cite|code|data|del|dfn|em|font|i|ins|kbd|label|mark|q|s|samp|small|span|"
    "strike|strong|sub|sup|time|tt|u|var|wbr"
)
_VOID = re.compile("area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr")
_CHARSET = re.compile(rb"<meta[^>]+charset=[\"']?\s*([A-Za-z0-9._:-]+)", re.I)
# Python's own codecs of program text and domain names; time of some grows with the square.
_OF_NO_PAGE = frozenset(
    {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"}
)
_SPACES = re.compile(r"[^\S\n]+")
_BREAKS = re.compile(r" ?\n[ \n]*")


def read(path: Path, name: str, options: FileOptions) -> Items:
    """Yield the page as one document: its title and its visible text."""
    title, text = extract(_decode(read_bytes(path, factor=16), path))
    yield document(name, titled(title, text), "html", title)


def extract(markup: str) -> tuple[str, str]:
    """Return a page's title and its text, one line per block element."""
    parser = _TextParser()
    parser.feed(markup)
    parser.close()
    title = " ".join("".join(parser.title).split())
    return title, parser.text()


def _decode(data: bytes, path: Path) -> str:
    """Decode as the page declares, UTF-8 where it says nothing."""
    declared = _CHARSET.search(data[:2048])
    if declared is None or data.startswith(codecs.BOM_UTF8):
        return decode(data, path)
    name = declared.group(1).decode("ascii")
    try:
        found = codecs.lookup(name).name
        if found == "utf-8":
            return decode(data, path)
        if found in _OF_NO_PAGE:
            raise LookupError(f"no page is written in {found}")
        return data.decode("cp1252" if found == "iso8859-1" else name)
    except (LookupError, UnicodeError) as error:
        raise InvalidDocumentError(
            f"{path} says that it is {name!r} but cannot be decoded so ({error}). Convert it to "
            "UTF-8."
        ) from error


class _TextParser(HTMLParser):
    """Collects character data outside hidden elements, with a line break at each block."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title: list[str] = []
        self._pieces: list[str] = []
        self._hidden: list[str] = []
        self._in_title = False
        self._preformatted = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "title" and not self._hidden and not self.title:
            self._in_title = True
        elif tag in HIDDEN:
            self._hidden.append(tag)
        self._preformatted += tag == "pre"
        self._break(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if _VOID.fullmatch(tag):
            self._break(tag)
        elif tag not in HIDDEN:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == "title":
            self._in_title = False
        elif tag in self._hidden:
            while self._hidden.pop() != tag:
                continue
        self._preformatted = max(0, self._preformatted - (tag == "pre"))
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title.append(data)
        elif not self._hidden:
            self._pieces.append(data if self._preformatted else data.replace("\n", " "))

    def parse_html_declaration(self, i: int) -> int:
        """A marked section is skipped like a comment, as browsers do; the base class gives up."""
        if self.rawdata.startswith("<![", i):
            return self.parse_bogus_comment(i)
        return super().parse_html_declaration(i)

    def _break(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._pieces.append(" ")
        elif not self._hidden and not _INLINE.fullmatch(tag):
            self._pieces.append("\n")

    def text(self) -> str:
        """The visible text with white space collapsed."""
        return _BREAKS.sub("\n", _SPACES.sub(" ", "".join(self._pieces))).strip()
