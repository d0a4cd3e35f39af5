"""Values of callers as messages show them."""

from __future__ import annotations

from typing import Final

LONGEST: Final = 80
"""Characters of a value that a message shows."""


def shown(value: object) -> str:
    """A value for a message, cut to a readable length, whatever it is.

    A list that holds itself 10,000 times over has no `repr`, and must not make an error of another
    kind out of the one that is about to be told.
    """
    try:
        text = repr(value)
    except (RecursionError, ValueError):
        text = "a value that cannot be shown"
    return f"{text[:LONGEST]}… ({type(value).__name__})" if len(text) > LONGEST else text
