"""Lists in pages, by a cursor, as OpenAI's API gives them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query

from ..problems import Refusal
from ..records import Record

Limit = Annotated[int, Query(ge=1, le=100)]
Order = Annotated[Literal["asc", "desc"], Query()]
Cursor = Annotated[str | None, Query(max_length=128)]


def page(
    records: list[Record], *, limit: int, order: str, after: str | None, before: str | None = None
) -> tuple[list[Record], bool]:
    """The records of one page, and whether there are more.

    Args:
        records: each with id and created_at.
        limit: of a page.
        order: of their age, "asc" or "desc".
        after, before: ids that the page lies between.

    Raises:
        Refusal: there is no such id.
    """
    ordered = sorted(records, key=lambda record: (record["created_at"], record["id"]))
    if order == "desc":
        ordered.reverse()
    places = {record["id"]: number for number, record in enumerate(ordered)}
    first = _place(places, after, "after") + 1 if after is not None else 0
    last = _place(places, before, "before") if before is not None else len(ordered)
    if before is not None and after is None:
        first = max(first, last - limit)
    chosen = ordered[first : min(last, first + limit)]
    return chosen, first + len(chosen) < last


def _place(places: dict[str, int], id: str, name: str) -> int:
    if id not in places:
        raise Refusal(400, "invalid_cursor", f"There is no {id[:80]!r} in the list.", param=name)
    return places[id]


def shown_page(data: list[dict[str, Any]], more: bool) -> dict[str, Any]:
    """A page as the API shows it."""
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": more,
    }
