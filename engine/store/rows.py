"""Between frozen records and table rows."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
import structlog

from engine.store.readers import Reading
from engine.store.soundness import fault_in

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
R = TypeVar("R", bound="DataclassInstance")

log = structlog.get_logger()

IDS_PER_STATEMENT = 500
ROWS_PER_TURN = 256


def storable(text: str) -> str:
    """The text as every database keeps it: no NUL, which PostgreSQL refuses, and no half characters."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def to_row(record: DataclassInstance) -> dict[str, Any]:
    """Column values of a record whose fields are named like the columns."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def from_row(cls: type[R], row: sa.Row[Any]) -> R:
    """The record in a row; columns that the record does not have are left out."""
    values = row._mapping
    return cls(**{field.name: values[field.name] for field in dataclasses.fields(cls)})


def sound_records(cls: type[R], rows: Iterable[sa.Row[Any]]) -> list[R]:
    """The records in these rows; one that makes no sense is said in the log and left out, so that others go on."""
    found = [from_row(cls, row) for row in rows]
    faults = [fault_in(record) for record in found]
    for record, why in zip(found, faults, strict=True):
        if why:
            first = dataclasses.fields(cls)[0].name
            log.error("store.row_damaged", record=cls.__name__, id=str(getattr(record, first)), why=why)
    return [record for record, why in zip(found, faults, strict=True) if not why]


async def read_records(connection: Reading, cls: type[R], statement: sa.Select[Any]) -> list[R]:
    """All rows as records. Many take a moment, so others get a turn in between."""
    result = await connection.execute(statement)
    places = {name: place for place, name in enumerate(result.keys())}
    pick = itemgetter(*(places[field.name] for field in dataclasses.fields(cls)))
    found: list[R] = []
    while rows := result.fetchmany(ROWS_PER_TURN):
        found += [cls(*pick(row)) for row in rows]
        await asyncio.sleep(0)
    return found


def in_chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Slices that fit into one statement's parameters."""
    for start in range(0, len(items), IDS_PER_STATEMENT):
        yield items[start : start + IDS_PER_STATEMENT]
