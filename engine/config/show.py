"""A loaded configuration for people: each key, its value, and where the value came from."""

from __future__ import annotations

from typing import Any

from engine.config.load import Loaded
from engine.config.masking import mask_value
from engine.config.shape import leaves


def describe(loaded: Loaded[Any]) -> list[tuple[str, str, str]]:
    """(dotted key, value as text with secrets masked, source) in the order of the sections."""
    return [
        (key, text_of(mask_value(key, value)), loaded.sources.get(key, "default"))
        for key, value in leaves(loaded.config)
    ]


def text_of(value: object) -> str:
    """A value as a screen shows it; a dash for none."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "-"
    if isinstance(value, dict):
        return ", ".join(f"{name}={text_of(inner)}" for name, inner in value.items()) or "-"
    return str(value)
