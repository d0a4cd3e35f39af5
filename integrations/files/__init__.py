"""Readers of users' files: text, Markdown, HTML, PDF, JSON lines and tables.

    for document in read_files([Path("docs")], on_problem=print): ...

Each file becomes one document or several; see `reading.read_files`.
"""

from .options import FileOptions
from .reading import FileProblem, SourceFile, find_files, read_file, read_files
from .registry import FORMATS, format_of

__all__ = [
    "FORMATS",
    "FileOptions",
    "FileProblem",
    "SourceFile",
    "find_files",
    "format_of",
    "read_file",
    "read_files",
]
