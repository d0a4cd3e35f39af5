"""Harnesses of the readers of users' files, and of the collections that evaluation reads."""

from __future__ import annotations

import gzip
from itertools import islice
from typing import Any, Final

from weft.engine.evaluation.lines import json_objects, tab_separated
from weft.integrations.files import FileOptions, SourceFile, read_files

from .base import Harness
from .mutation import edited_bytes, edited_json, json_bytes
from .source import Source
from .using import attempt

RECORDS: Final[tuple[Any, ...]] = (
    {"id": "a", "text": "weave", "title": "T", "metadata": {"n": 1, "deep": {"a": [1, "x"]}}},
    {"_id": 7, "text": "weft", "year": 1999, "tags": ["a", "b"]},
)
PIECES: Final = (
    b"<html><head><title>T</title><meta charset='latin-1'></head><body><p>x</p></body></html>",
    b"<script>", b"</script>", b"<!--", b"-->", b"<![CDATA[", b"&#x110000;", b"&#xD800;", b"&amp",
    b"<meta charset=utf-7>", b"<meta charset=idna>", b"<meta charset=undefined>", b"<pre>\n",
    b"<!DOCTYPE", b"<?", b"<a b='", b"---\ntitle: 'x'\n---\n# H\n", b"Title\n=====\n", b"\xff\xfe",
    b"\xef\xbb\xbf", b"\r", b"\n", b'a,b,text\n1,2,"x\ny"\n', b'"', b"\t", b"id,text\n",
    b"id,text,text\n", b"\0", b"<" * 3000, b"# " * 3000, b" " * 5000, b"<div>" * 2000, b"\\",
    b"</" * 2000, b"<!" * 2000, b"=" * 4000, b"&" * 4000, b"\xc3", b"\xed\xa0\x80",
)  # fmt: skip
OPTIONS: Final = (
    FileOptions(),
    FileOptions(id_field="id", text_fields=("text",), number_fields=("year",)),
    FileOptions(text_fields=("a", "b"), title_field="text"),
)


class UserFile(Harness):
    """A harness that writes one file and reads it in every way that its kind allows."""

    formats: tuple[tuple[str, str], ...]
    """Names and formats that the content is read as."""

    def read(self, source: Source, content: bytes) -> None:
        """Write the content and read it."""
        name, kind = source.choice(self.formats)
        path = self.folder / name
        if name.endswith(".gz"):
            content = gzip.compress(content, 1)
            content = edited_bytes(source, content) if source.flag(4) else content
        path.write_bytes(content)
        file = SourceFile(path, name, kind, len(content))
        options = source.choice(OPTIONS)
        attempt(lambda: list(islice(read_files([file], lambda problem: None, options), 1000)))
        if kind in ("jsonl", "tsv"):
            attempt(lambda: list(json_objects(path)))
            attempt(lambda: list(tab_separated(path, 3)))


class JsonLines(UserFile):
    """JSON lines, gzipped or not."""

    formats = (("f.jsonl", "jsonl"), ("f.jsonl.gz", "jsonl"))

    def run(self, data: bytes) -> None:
        source = Source(data)
        records: list[Any] = list(RECORDS)
        as_bytes = source.flag(4)
        lines = b"\n".join(map(json_bytes, records))
        for _ in source.edits():
            if as_bytes:
                lines = edited_bytes(source, lines)
            else:
                at = source.below(len(records))
                records[at] = edited_json(source, records[at])
                lines = b"\n".join(map(json_bytes, records))
        self.read(source, lines)


class PiecedFile(UserFile):
    """A file put together of pieces that mean something to its parser, and of any bytes."""

    def run(self, data: bytes) -> None:
        source = Source(data)
        content = b""
        for _ in range(24):
            if not source.left:
                break
            content += source.choice(PIECES) if source.flag() else source.take(source.below(32))
        self.read(source, content)


class Tables(PiecedFile):
    """Tables separated by commas or tabs, gzipped or not."""

    formats = (("f.csv", "csv"), ("f.tsv", "tsv"), ("f.csv.gz", "csv"))


class Markup(PiecedFile):
    """Plain text, Markdown and HTML."""

    formats = (("f.html", "html"), ("f.md", "markdown"), ("f.txt", "text"))


def small_pdf() -> bytes:
    """A PDF of one page with one line of text, as PDF's own syntax has it."""
    stream = b"BT /F1 12 Tf 72 720 Td (weave the weft) Tj ET"
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 "
        b"5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    )
    content, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(content))
        content += b"%d 0 obj%s endobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    start = len(content)
    content += b"xref\n0 6\n0000000000 65535 f \n" + table
    return content + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % start


class Pdf(UserFile):
    """A small PDF with edited bytes."""

    formats = (("f.pdf", "pdf"),)

    def run(self, data: bytes) -> None:
        source = Source(data)
        content = small_pdf()
        for _ in source.edits():
            content = edited_bytes(source, content)
        self.read(source, content)
