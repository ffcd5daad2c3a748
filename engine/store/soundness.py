"""Rows that no engine wrote: SQLite keeps any type in any column, so a file edited by hand or hurt by a disk may."""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def fault_in(record: DataclassInstance) -> str:
    """The first field that holds what its type excludes, in words; empty for a sound record."""
    for name, kinds in _kinds(type(record)):
        value = getattr(record, name)
        if type(value) not in kinds or (type(value) is float and not math.isfinite(value)):
            return f"{name} is {str(value)[:40]!r}"
    return ""


@cache
def _kinds(cls: type[Any]) -> tuple[tuple[str, frozenset[object]], ...]:
    """Each plain field with the types that it may hold; whole numbers are numbers."""
    hints, found = get_type_hints(cls), []
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        kinds = set(get_args(hint) if isinstance(hint, UnionType) else (hint,))
        if kinds <= {str, int, float, bool, bytes, NoneType}:
            found.append((field.name, frozenset(kinds | {int} if float in kinds else kinds)))
    return tuple(found)
