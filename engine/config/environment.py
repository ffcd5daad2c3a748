"""The environment layer: ``BASILICA_SECTION__KEY``, typed by the field that it sets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_origin

from engine.config.shape import Model, members, section_model, stray_keys

PREFIX = "BASILICA_"
DEPLOYED_PREFIX = "BASILCA_"
"""The deployed programs' own misspelling."""
_TRUE = {"true", "1", "yes", "on"}
_FALSE = {"false", "0", "no", "off"}


@dataclass
class EnvironmentLayer:
    """What the environment sets, as nested data, and the variable behind each dotted key."""

    data: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def read_environment(model: Model, env: Mapping[str, str]) -> EnvironmentLayer:
    """Collect the variables that name a key of the model; the right spelling of the prefix wins over the other."""
    layer = EnvironmentLayer()
    for prefix in (DEPLOYED_PREFIX, PREFIX):
        for variable in sorted(name for name in env if name.startswith(prefix)):
            path = variable.removeprefix(prefix).lower().split("__")
            if all(path):
                _take(layer, model, path, variable, env[variable])
    return layer


def _take(layer: EnvironmentLayer, model: Model, path: list[str], variable: str, text: str) -> None:
    annotation = _annotation_at(model, path)
    if annotation is None:
        # One-word variables belong to the program (a password, a file path), not to the configuration.
        if len(path) > 1:
            layer.warnings.append(_unknown(model, path, variable))
        return
    if variable.startswith(DEPLOYED_PREFIX):
        right = PREFIX + variable.removeprefix(DEPLOYED_PREFIX)
        layer.warnings.append(f"environment: {variable} is read, but spelled as older miners did; write {right}")
    key = ".".join(path)
    layer.variables[key] = variable
    table = layer.data
    for part in path[:-1]:
        table = table.setdefault(part, {})
    table[path[-1]] = parse_text(annotation, text)


def _annotation_at(model: Model, path: list[str]) -> Any:
    """The annotation of the field at this path, or None where there is no such value field."""
    inner: Model | None = model
    annotation: Any = None
    for part in path:
        if inner is None or part not in inner.model_fields:
            return None
        annotation = inner.model_fields[part].annotation
        inner = section_model(annotation)
    return annotation if inner is None else None


def _unknown(model: Model, path: list[str], variable: str) -> str:
    nested: Any = ""
    for part in reversed(path):
        nested = {part: nested}
    stray = next(stray_keys(model, nested), None)
    if stray is None or not stray.suggestion:
        return f"environment: {variable} sets no known key and has no effect"
    words = stray.suggestion.split(".")
    right = PREFIX + "__".join([*words, *path[len(words) :]]).upper()
    return f"environment: {variable} sets no known key and has no effect; did you mean {right}?"


def parse_text(annotation: Any, text: str) -> object:
    """Text as the value that this field holds; text that does not fit stays text and fails as a wrong type."""
    kinds = {get_origin(member) or member for member in members(annotation)}
    stripped = text.strip()
    if type(None) in kinds and not stripped:
        return None
    if tuple in kinds:
        return _array(stripped)
    if dict in kinds or (float in kinds and stripped.startswith("{")):
        return _json_or_text(stripped)
    if bool in kinds:
        lowered = stripped.lower()
        return True if lowered in _TRUE else False if lowered in _FALSE else text
    if int in kinds or float in kinds:
        return _number(stripped, text, whole=float not in kinds)
    return stripped if Path in kinds else text


def _number(stripped: str, text: str, *, whole: bool) -> object:
    # Underscores and the like are Python's habit, not an operator's.
    if not stripped.isascii() or "_" in stripped:
        return text
    for kind in (int,) if whole else (int, float):
        try:
            return kind(stripped)
        except ValueError:
            continue
    return text


def _array(stripped: str) -> object:
    if stripped.startswith("["):
        return _json_or_text(stripped)
    return [part.strip() for part in stripped.split(",") if part.strip()]


def _json_or_text(stripped: str) -> object:
    try:
        value: object = json.loads(stripped)
    except (ValueError, RecursionError):
        return stripped
    return value
