"""Real text that any machine with Python has: its documentation.

The language reference that `help()` shows, the docstrings of the standard library and the
descriptions of installed packages, read as files: nothing is imported or run.
"""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import sysconfig
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from ...engine.documents import Document

N_DOCUMENTS: Final = 3_200
MIN_CHARACTERS: Final = 80
MAX_CHARACTERS: Final = 300
LONGEST_PARAGRAPH: Final = 700
TOPIC_DOCUMENTS: Final = 12
MODULE_DOCUMENTS: Final = 40
PACKAGE_DOCUMENTS: Final = 6

_REPEATED_TOPICS = frozenset({"compound", "specialnames"})
_LEFT_OUT = frozenset(
    {"dist-packages", "distutils", "ensurepip", "idlelib", "lib2to3", "site-packages"}
    | {"test", "tests", "tkinter", "turtledemo"}
)


def documents(n: int = N_DOCUMENTS) -> list[Document]:
    """Gather `n` documents, the same ones each time on one machine.

    A long text gives several documents, cut between paragraphs, of about 80 to 300 characters.
    Each topic, module and package gives a bounded number, so that all have their say.
    """
    chosen: dict[str, Document] = {}
    sources = (
        _topics(),
        _docstrings(Path(sysconfig.get_paths()["stdlib"])),
        _packages(),
        _docstrings(Path(sysconfig.get_paths()["purelib"])),
    )
    for source in sources:
        for document in source:
            if len(chosen) == n:
                break
            chosen.setdefault(document.id, document)
    return list(chosen.values())


def pieces(text: str) -> Iterator[str]:
    """Join paragraphs into pieces of at most `MAX_CHARACTERS`, and drop scraps.

    A paragraph that is longer, most often a grammar or a listing, is left out.
    """
    piece = ""
    for paragraph in text.split("\n\n"):
        if len(paragraph) > LONGEST_PARAGRAPH:
            continue
        if piece and len(piece) + len(paragraph) > MAX_CHARACTERS:
            if len(piece.strip()) >= MIN_CHARACTERS:
                yield piece.strip()
            piece = ""
        piece = f"{piece}\n\n{paragraph}" if piece else paragraph
    if len(piece.strip()) >= MIN_CHARACTERS:
        yield piece.strip()


def _documents(name: str, text: str, source: str) -> Iterator[Document]:
    clean = text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    for number, piece in enumerate(pieces(clean), 1):
        id = name if number == 1 else f"{name}#{number}"
        yield Document(id, piece, {"source": source, "name": name})


def _topics() -> Iterator[Document]:
    """The language reference, as the `pydoc` package carries it."""
    path = Path(sysconfig.get_paths()["stdlib"], "pydoc_data", "topics.py")
    if not path.is_file():
        return
    for name, text in sorted(_string_values(ast.parse(path.read_bytes())).items()):
        if name not in _REPEATED_TOPICS:
            found = _documents(f"reference/{name}", text, "language reference")
            yield from islice(found, TOPIC_DOCUMENTS)


def _string_values(tree: ast.Module) -> dict[str, str]:
    """The entries of the one dict of strings that the module assigns."""
    value = next(node.value for node in tree.body if isinstance(node, ast.Assign))
    found = ast.literal_eval(value)
    return {key: text for key, text in found.items() if isinstance(text, str)}


def _packages() -> Iterator[Document]:
    """What installed packages say about themselves."""
    found = {d.metadata["Name"] or "": d for d in importlib.metadata.distributions()}
    for name, distribution in sorted(found.items()):
        text = distribution.read_text("METADATA") or ""
        description = text.partition("\n\n")[2]
        pieces_of_it = _documents(f"package/{name}", description, "package description")
        yield from islice(pieces_of_it, PACKAGE_DOCUMENTS)


def _docstrings(folder: Path) -> Iterator[Document]:
    """Docstrings of the public modules, classes and functions under a folder."""
    taken: Counter[str] = Counter()
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if _LEFT_OUT.intersection(parts) or any(part.startswith("_") for part in parts[:-1]):
            continue
        left = MODULE_DOCUMENTS - taken[parts[0]]
        found = list(islice(_module_docstrings(path, parts), max(0, left)))
        taken[parts[0]] += len(found)
        yield from found


def _module_docstrings(path: Path, parts: tuple[str, ...]) -> Iterator[Document]:
    if parts[-1].startswith("_") and parts[-1] != "__init__":
        return
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    yield from _node_docstrings(tree, ".".join(part for part in parts if part != "__init__"))


def _node_docstrings(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Iterator[Document]:
    docstring = ast.get_docstring(node, clean=False)
    if docstring:
        yield from _documents(name, inspect.cleandoc(docstring), "docstring")
    for child in node.body:
        if not isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if not child.name.startswith("_"):
            yield from _node_docstrings(child, f"{name}.{child.name}")
