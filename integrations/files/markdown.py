"""Markdown, kept as written: a result then shows what stands in the file."""

from __future__ import annotations

import re
from pathlib import Path

from .options import FileOptions, Items
from .text import decode, document, read_bytes

_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*\r?$\n?", re.DOTALL | re.M)
_FRONT_TITLE = re.compile(r"^title:[ \t]*(.+?)[ \t]*$", re.M | re.I)
_HEADING = re.compile(r"^#{1,6}[ \t]+(.+?)[ \t#]*$", re.M)
_UNDERLINED = re.compile(r"^(\S.*)\r?\n(?:=+|-+)[ \t]*$", re.M)


def read(path: Path, name: str, options: FileOptions) -> Items:
    """Yield the file as one document without its front matter."""
    text = decode(read_bytes(path), path)
    front = _FRONT_MATTER.match(text)
    body = text[front.end() :] if front else text
    title = _front_title(front.group(1)) if front else ""
    yield document(name, body, "markdown", title or _first_heading(body))


def _front_title(front: str) -> str:
    found = _FRONT_TITLE.search(front)
    return found.group(1).strip("\"'") if found else ""


def _first_heading(text: str) -> str:
    found = [match for pattern in (_HEADING, _UNDERLINED) if (match := pattern.search(text))]
    return min(found, key=lambda match: match.start()).group(1).strip() if found else ""
