"""Sentences for what a model refuses: where, which key, which value, and what it must be."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.config.masking import mask_value

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false, without quotes",
    "string_type": "text in quotes",
    "string_too_short": "at least one character long",
    "string_pattern_mismatch": "more than blanks",
    "model_type": "a section",
    "model_attributes_type": "a section",
    "dict_type": "a table",
    "tuple_type": "an array in square brackets",
    "list_type": "an array in square brackets",
}
_PORT = "a port from 1 to 65535"


def dotted(location: tuple[int | str, ...]) -> str:
    """``("nodes", 0, "port")`` as ``nodes[0].port``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def sentences(error: ValidationError, where: Callable[[str], str]) -> tuple[str, ...]:
    """One sentence per finding; ``where`` names the file or variable that set a key."""
    found: dict[str, str] = {}
    for item in error.errors(include_url=False):
        key = dotted(tuple(part for part in item["loc"] if part != "[key]"))
        found.setdefault(key, f"{where(key)}: {_sentence(key, item)}")
    return tuple(found.values())


def _sentence(key: str, item: Mapping[str, Any]) -> str:
    if item["type"] == "missing":
        return f"{key} is missing; every entry needs it"
    return f"{key} is {shown(key, item['input'])}, but must be {_wanted(key, item)}"


def shown(key: str, value: object) -> str:
    """A value as TOML would write it, shortened, secrets hidden."""
    value = mask_value(key, value)
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, str | bool | int | float | list | tuple | dict):
        text = json.dumps(value, default=str, ensure_ascii=False)
    else:
        text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _wanted(key: str, item: Mapping[str, Any]) -> str:
    kind, context = item["type"], item.get("ctx") or {}
    if kind in ("greater_than_equal", "less_than_equal", "int_type") and key.rsplit(".", 1)[-1].endswith("port"):
        return _PORT
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"one of {context['expected'].replace(' or ', ', ')}"
    comparison = {
        "greater_than": "more than {gt:g}",
        "greater_than_equal": "{ge:g} or more",
        "less_than": "less than {lt:g}",
        "less_than_equal": "{le:g} or less",
    }.get(kind)
    if comparison is not None:
        return comparison.format(**context)
    return _WANTED.get(kind, str(item["msg"]))
