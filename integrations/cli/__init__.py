"""The command line: `weft index`, `search`, `explain`, `info`, `evaluate`, `demo` and others."""

from __future__ import annotations


def main() -> None:
    """Run the command line; the entry point `weft`."""
    from .app import app

    app()
