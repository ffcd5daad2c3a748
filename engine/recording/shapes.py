"""Whether values from a file have the types that a dataclass declares: a recording may come from somebody else."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

Check = Callable[[object], bool]


def fitting(cls: type[Any], values: Mapping[str, object]) -> dict[str, object] | None:
    """The known fields as the class wants them, None when one has another type or a needed one is missing."""
    kept: dict[str, object] = {}
    known = _checks(cls)  # type: ignore[arg-type]  # a class is hashable, which type[Any] does not say
    for name, (check, is_needed) in known.items():
        if name not in values:
            if is_needed:
                return None
            continue
        value = values[name]
        value = tuple(value) if isinstance(value, list) else value
        if not check(value):
            return None
        kept[name] = value
    return kept


@cache
def _checks(cls: type[Any]) -> dict[str, tuple[Check, bool]]:
    hints = typing.get_type_hints(cls)
    missing = dataclasses.MISSING
    return {
        f.name: (_check(hints[f.name]), f.default is missing and f.default_factory is missing)
        for f in dataclasses.fields(cls)
    }


def _check(hint: Any) -> Check:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        inner = [_check(part) for part in parts]
        return lambda value: any(check(value) for check in inner)
    if origin is tuple:
        item = _check(parts[0])
        return lambda value: isinstance(value, tuple) and all(item(part) for part in value)
    if origin is typing.Literal:
        return lambda value: value in parts
    return _plain(hint)


def _plain(hint: Any) -> Check:
    if hint in (int, float):
        wanted = int if hint is int else int | float
        return lambda value: isinstance(value, wanted) and not isinstance(value, bool)
    return lambda value: value is None if hint is type(None) else isinstance(value, hint)
