"""Walking the models: which keys exist, what is inside a field, and a value's way to a dotted key."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

Model = type[BaseModel]


def members(annotation: Any) -> tuple[Any, ...]:
    """The plain types that a field may hold: Annotated, Optional and unions are opened."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return members(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return tuple(member for part in get_args(annotation) for member in members(part))
    return (annotation,)


def section_model(annotation: Any) -> Model | None:
    """The model behind a field that is a table."""
    for member in members(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            return member
    return None


def item_model(annotation: Any) -> Model | None:
    """The model of the items of a field that is an array of tables."""
    for member in members(annotation):
        if get_origin(member) is tuple:
            return section_model(get_args(member)[0])
    return None


@dataclass(frozen=True, slots=True)
class Stray:
    """A key of a file or of the environment that no model has."""

    key: str
    plain: str
    """Without list indices, as the tables of retired keys are written."""
    suggestion: str


def stray_keys(model: Model, data: Mapping[str, Any]) -> Iterator[Stray]:
    """Every key in ``data`` that the model does not know; an unknown section is named as a whole."""
    homes: dict[str, list[str]] = {}
    for key in _keys(model):
        homes.setdefault(key.rsplit(".", 1)[-1], []).append(key)
    yield from _strays(model, data, "", "", {name: keys[0] for name, keys in homes.items() if len(keys) == 1})


def _strays(
    model: Model, data: Mapping[str, Any], prefix: str, plain: str, homes: Mapping[str, str]
) -> Iterator[Stray]:
    fields = model.model_fields
    for key, value in data.items():
        dotted, without_index = _join(prefix, key), _join(plain, key)
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=1, cutoff=0.7)
            suggestion = _join(prefix, close[0]) if close else homes.get(key, "")
            yield Stray(dotted, without_index, suggestion)
            continue
        annotation = fields[key].annotation
        inner, items = section_model(annotation), item_model(annotation)
        if inner is not None and isinstance(value, Mapping):
            yield from _strays(inner, value, dotted, without_index, homes)
        elif items is not None and isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, Mapping):
                    yield from _strays(items, item, f"{dotted}[{index}]", without_index, homes)


def _keys(model: Model, prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = section_model(field.annotation)
        if inner is None:
            yield _join(prefix, name)
        else:
            yield from _keys(inner, _join(prefix, name))


def leaves(value: BaseModel, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Every set value of a configuration with its dotted key; arrays of tables get an index."""
    for name in type(value).model_fields:
        inner = getattr(value, name)
        dotted = _join(prefix, name)
        if isinstance(inner, BaseModel):
            yield from leaves(inner, dotted)
        elif isinstance(inner, tuple) and inner and isinstance(inner[0], BaseModel):
            for index, item in enumerate(inner):
                yield from leaves(item, f"{dotted}[{index}]")
        else:
            yield dotted, inner


def _join(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key
