"""Between frozen records and table rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
R = TypeVar("R", bound="DataclassInstance")

IDS_PER_STATEMENT = 500


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


def in_chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Slices that fit into one statement's parameters."""
    for start in range(0, len(items), IDS_PER_STATEMENT):
        yield items[start : start + IDS_PER_STATEMENT]
