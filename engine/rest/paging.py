"""Pages of lists: ``page`` and ``page_size``, ``sort``, ``X-Total-Count`` and ``Link`` (RFC 8288)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar
from urllib.parse import quote, urlencode

from fastapi import Query, Request

MAX_PAGE = 100
T = TypeVar("T")

Page = Annotated[int, Query(ge=1, le=1_000_000, description="From 1.")]
PageSize = Annotated[int, Query(ge=1, le=MAX_PAGE)]
Least = Annotated[int | None, Query(ge=0, le=1_000_000)]
Word = Annotated[str | None, Query(max_length=100)]


def page_of(items: Sequence[T], page: int, size: int, request: Request) -> tuple[list[T], dict[str, str]]:
    """One page, and as headers how many there are and where the neighbours are."""
    last = max(1, -(-len(items) // size))
    places = {"first": 1, "prev": page - 1, "next": page + 1, "last": last}
    query, path = dict(request.query_params), quote(request.url.path)
    links = [
        f'<{path}?{urlencode({**query, "page": place, "page_size": size})}>; rel="{name}"'
        for name, place in places.items()
        if 1 <= place <= last and place != page
    ]
    headers = {"x-total-count": str(len(items))}
    if links:
        headers["link"] = ", ".join(links)
    return list(items[(page - 1) * size : page * size]), headers


def in_order(items: list[T], sort: str | None, keys: Mapping[str, Callable[[T], Any]]) -> list[T]:
    """Sorted by the key of this name, with a minus from the largest; as they come without one."""
    return items if sort is None else sorted(items, key=keys[sort.removeprefix("-")], reverse=sort.startswith("-"))
