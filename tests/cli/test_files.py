import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from weft.engine.documents import Document
from weft.engine.errors import (
    DuplicateDocumentError,
    InvalidInputError,
    InvalidParameterError,
    MissingDependencyError,
)
from weft.integrations.files import (
    FileOptions,
    FileProblem,
    SourceFile,
    find_files,
    format_of,
    read_files,
)


def read(path: Path, **options: Any) -> tuple[list[Document], list[str]]:
    problems: list[FileProblem] = []
    files = find_files([path], problems.append)
    found = [d for _, d in read_files(files, problems.append, FileOptions(**options))]
    return found, [problem.reason for problem in problems]


def names(files: list[SourceFile]) -> list[str]:
    return [file.name for file in files]


def put(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.txt", "text"),
        ("a.RST", "text"),
        ("a.md", "markdown"),
        ("a.htm", "html"),
        ("a.pdf", "pdf"),
        ("a.jsonl", "jsonl"),
        ("a.ndjson.gz", "jsonl"),
        ("a.csv.gz", "csv"),
        ("a.tsv", "tsv"),
        ("a.txt.gz", None),
        ("a.py", None),
        ("README", None),
    ],
)
def test_formats_by_suffix(name: str, format: str | None) -> None:
    assert format_of(Path(name)) == format


def test_text(tmp_path: Path) -> None:
    path = put(tmp_path / "a.txt", "\ufeff\n First line \n\nZürich 語\n")
    (document,), problems = read(path)
    assert document.text == "\n First line \n\nZürich 語\n"
    assert (document.id, dict(document.metadata)) == (
        "a.txt",
        {"path": "a.txt", "format": "text", "title": "First line"},
    )
    assert problems == []


@pytest.mark.parametrize(
    ("text", "title", "body"),
    [
        ("intro\n\n## The title ##\ntext\n# Later\n", "The title", "intro"),
        ("Underlined\n==========\n\ntext", "Underlined", "Underlined"),
        ('---\ntitle: "Front"\ntags: [a]\n---\n# Heading\n', "Front", "# Heading"),
        ("---\nnot closed\n", None, "---"),
    ],
)
def test_markdown(tmp_path: Path, text: str, title: str | None, body: str) -> None:
    (document,), _ = read(put(tmp_path / "a.md", text))
    assert document.metadata.get("title") == title
    assert document.text.startswith(body)


HTML = """<!doctype html><html><head><title>A &amp; B
</title><style>p {color: red}</style><script>if (1 < 2) {alert("no")}</script>
<body><h1>Heading</h1><p>One <b>bo</b>ld
word.<br>Next&nbsp;line<ul><li>item 1<li>item 2</ul>
<table><tr><td>a</td><td>b</td></tr></table><svg><title>picture</title></svg>
<pre>line 1
line 2</pre><!-- hidden --><template>hidden</template> tail"""


def test_html(tmp_path: Path) -> None:
    (document,), _ = read(put(tmp_path / "a.html", HTML))
    assert document.metadata["title"] == "A & B"
    assert document.text.split("\n") == [
        "A & B",
        "",
        "Heading",
        "One bold word.",
        "Next line",
        "item 1",
        "item 2",
        "a b",
        "line 1",
        "line 2",
        "tail",
    ]


def test_html_without_head_or_body_tags_keeps_its_text(tmp_path: Path) -> None:
    (document,), _ = read(put(tmp_path / "a.html", "<title>T</title><p>Some text"))
    assert document.text == "T\n\nSome text"


def test_html_in_its_declared_encoding(tmp_path: Path) -> None:
    page = '<meta charset="iso-8859-1"><p>Zürich – naïve'.encode("cp1252")
    (document,), _ = read(put(tmp_path / "a.html", page))
    assert document.text == "Zürich – naïve"
    found, problems = read(put(tmp_path / "b.html", b'<meta charset="klingon">x'))
    assert found == [] and "'klingon'" in problems[0]


def test_jsonl_fields_and_defaults(tmp_path: Path) -> None:
    records = [
        {"_id": "one", "title": "T", "text": "body", "metadata": {"year": 2020}, "tag": "x"},
        {"text": "T stands in T", "title": "T"},
        {"id": 7, "content": "other name"},
    ]
    text = "".join(json.dumps(record) + "\n\n" for record in records)
    path = put(tmp_path / "a.jsonl.gz", gzip.compress(text.encode()))
    documents, problems = read(path)
    assert problems == []
    assert [(d.id, d.text) for d in documents] == [
        ("one", "T\n\nbody"),
        ("a.jsonl.gz#3", "T stands in T"),
        ("7", "other name"),
    ]
    assert dict(documents[0].metadata) == {
        "path": "a.jsonl.gz",
        "title": "T",
        "tag": "x",
        "year": 2020,
    }


def test_jsonl_goes_on_after_bad_lines(tmp_path: Path) -> None:
    lines = ['{"text": "good"}', "{oops", "[]", '{"text": 3}', '{"x": 1}', '{"text": ""}']
    lines += ['{"text": "a\\u0000b"}', '{"text": "\\ud800"}', '{"text": "also good"}']
    documents, problems = read(put(tmp_path / "a.jsonl", "\n".join(lines)))
    assert [d.text for d in documents] == ["good", "also good"]
    assert len(problems) == 7
    assert "line 2 is not JSON" in problems[0]
    assert "line 5 has no field 'text'" in problems[3] and "--text-field" in problems[3]
    assert "NUL" in problems[5] and "surrogate" in problems[6]


def test_csv_with_chosen_columns(tmp_path: Path) -> None:
    text = 'key,headline,"body",year\nk1,Hello,"two\n\nlines, quoted",1999\nk2,,plain,2.5\n'
    documents, problems = read(
        put(tmp_path / "a.csv", text),
        id_field="key",
        text_fields=("headline", "body"),
        number_fields=("year",),
    )
    assert problems == []
    assert [(d.id, d.text, d.metadata["year"]) for d in documents] == [
        ("k1", "Hello\n\ntwo\n\nlines, quoted", 1999),
        ("k2", "plain", 2.5),
    ]


def test_tables_name_bad_rows(tmp_path: Path) -> None:
    text = "id\ttext\tyear\na\tone\t1\nb\ttwo\nc\tthree\tten\nd\tfour\tnan\n"
    documents, problems = read(put(tmp_path / "a.tsv", text), number_fields=("year",))
    assert [d.id for d in documents] == ["a"]
    assert "line 3 has 2 fields under 3" in problems[0]
    assert "line 4: 'year' is no number: 'ten'" in problems[1]
    assert "line 5: 'year' is 'nan'" in problems[2]
    _, problems = read(put(tmp_path / "b.csv", "a,a\n1,2\n"))
    assert "must name each column once" in problems[0]
    _, problems = read(put(tmp_path / "c.csv", 'text\n"never closed\n'))
    assert "c.csv, line 2" in problems[0]


def pdf(*pages: str) -> bytes:
    """A minimal PDF, its cross-reference table computed by hand."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>",
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    for i, page in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({page}) Tj ET"
        objects.append(
            "<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>"
            f"/Contents {5 + 2 * i} 0 R>>"
        )
        objects.append(f"<</Length {len(stream)}>>stream\n{stream}\nendstream")
    data, offsets = "%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += f"{number} 0 obj{body}endobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    trailer = f"trailer<</Size {size}/Root 1 0 R>>\nstartxref\n{len(data)}\n%%EOF"
    return f"{data}xref\n0 {size}\n0000000000 65535 f \n{table}{trailer}".encode()


def test_pdf_gives_a_document_per_page_with_text(tmp_path: Path) -> None:
    documents, problems = read(put(tmp_path / "a.pdf", pdf("Page one.", "", "Page three.")))
    assert problems == []
    assert [(d.id, d.text.strip(), d.metadata["page"]) for d in documents] == [
        ("a.pdf#1", "Page one.", 1),
        ("a.pdf#3", "Page three.", 3),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [(pdf(""), "holds no text"), (b"%PDF-1.4 broken", "cannot be read as PDF"), (b"", "PDF")],
)
def test_unusable_pdfs(tmp_path: Path, content: bytes, message: str) -> None:
    documents, problems = read(put(tmp_path / "a.pdf", content))
    assert documents == [] and message in problems[0]


def test_a_missing_extra_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pypdf", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'weft\[pdf\]'"):
        read(put(tmp_path / "a.pdf", pdf("x")))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"caf\xe9 au lait", "byte 0xe9 at offset 3 is not UTF-8"),
        ("text".encode("utf-16"), "is UTF-16"),
        (b"", "has no text"),
        (b"a\0b", "NUL"),
        (b"x" * 1_000_001, "1,000,001 characters"),
        (b"x" * 4_000_001, "split the file"),
    ],
)
def test_unusable_text(tmp_path: Path, content: bytes, message: str) -> None:
    documents, problems = read(put(tmp_path / "bad.txt", content))
    assert documents == []
    assert "bad.txt" in problems[0] and message in problems[0]


def test_folders_are_walked_in_order_and_bad_files_passed_over(tmp_path: Path) -> None:
    for name in ("b/z.txt", "b/a.md", "a.txt", ".hidden/x.txt", "b/.secret.txt", "c/pic.png"):
        put(tmp_path / name, f"text of {name}")
    put(tmp_path / "bad.txt", b"\xff\xfe\xff")
    documents, problems = read(tmp_path)
    here = tmp_path.name
    assert [d.id for d in documents] == [f"{here}/a.txt", f"{here}/b/a.md", f"{here}/b/z.txt"]
    assert len(problems) == 1 and "bad.txt" in problems[0]


def test_links(tmp_path: Path) -> None:
    put(tmp_path / "d/real.txt", "text")
    (tmp_path / "d/loop").symlink_to(tmp_path)
    (tmp_path / "d/file.txt").symlink_to("real.txt")
    (tmp_path / "d/circle.txt").symlink_to("circle.txt")
    (tmp_path / "d/gone.txt").symlink_to("nowhere.txt")
    documents, problems = read(tmp_path)
    assert [d.id for d in documents] == [
        f"{tmp_path.name}/d/{name}.txt" for name in ("file", "real")
    ]
    assert len(problems) == 3
    assert any("loop is a link to a folder" in problem for problem in problems)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    documents, problems = read(tmp_path)
    assert documents == [] and "no regular file" in problems[0]


def test_names_follow_the_root(tmp_path: Path) -> None:
    a = put(tmp_path / "one/same.txt", "a")
    b = put(tmp_path / "two/same.txt", "b")
    with pytest.raises(DuplicateDocumentError, match="--root"):
        find_files([a, b], pytest.fail)
    found = find_files([a, tmp_path / "two"], pytest.fail, root=tmp_path)
    assert names(found) == ["one/same.txt", "two/same.txt"]
    assert names(find_files([a, tmp_path / "one"], pytest.fail)) == ["same.txt"]
    with pytest.raises(InvalidInputError, match="does not lie under"):
        find_files([a], pytest.fail, root=tmp_path / "two")


def test_a_hash_in_a_file_name_stays(tmp_path: Path) -> None:
    (document,), _ = read(put(tmp_path / "c#.txt", "text"))
    assert document.id == document.metadata["path"] == "c#.txt"


def test_an_id_is_read_once(tmp_path: Path) -> None:
    put(tmp_path / "a.jsonl", '{"id": "x", "text": "first"}\n{"id": "x", "text": "second"}\n')
    documents, problems = read(tmp_path)
    assert [d.text for d in documents] == ["first"]
    assert "the first is kept" in problems[0]


def test_named_files_must_exist_and_be_known(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="does not exist"):
        find_files([tmp_path / "gone"], pytest.fail)
    path = put(tmp_path / "notes", "text")
    with pytest.raises(InvalidInputError, match="--format"):
        find_files([path], pytest.fail)
    assert find_files([path], pytest.fail, format="text")[0].format == "text"
    with pytest.raises(InvalidParameterError, match="'docx'"):
        find_files([path], pytest.fail, format="docx")
