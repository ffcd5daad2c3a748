"""A configuration as TOML with a comment above each section and key: what it is, in the model's own words."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from engine.config.common import RoleConfig
from engine.config.render import render_config

_TABLE = re.compile(r"^\[\[?([A-Za-z0-9_.]+)\]\]?$")
_KEY = re.compile(r"^([A-Za-z0-9_]+) = ")
WIDTH = 74
"""Columns of a comment, so that a terminal of 80 shows the file as it is."""


def render_commented(config: RoleConfig, *, head: str = "", notes: Mapping[str, str] | None = None) -> str:
    """What ``render_config`` writes, commented. ``notes``: dotted key to a sentence that is more telling here."""
    notes = notes or {}
    lines = [f"# {line}".rstrip() for line in head.splitlines()]
    model: type[BaseModel] | None = None
    section = ""
    for line in render_config(config).splitlines():
        table, key = _TABLE.match(line), _KEY.match(line)
        if table is not None:
            section = table[1]
            model = _model_at(type(config), section)
            lines += [""] if lines and lines[-1] else []
            lines += _comment(notes.get(section, _first_sentence(model)))
        elif key is not None and model is not None and key[1] in model.model_fields:
            text = notes.get(f"{section}.{key[1]}", model.model_fields[key[1]].description or "")
            lines += _comment(text)
        if line or (lines and lines[-1]):
            lines.append(line)
    return "\n".join(lines).strip("\n") + "\n"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), WIDTH)]


def _first_sentence(model: type[BaseModel] | None) -> str:
    doc = (model.__doc__ or "") if model is not None else ""
    words = doc.partition("\n")[0].partition(": ")[2].replace("``", "")
    return words[:1].upper() + words[1:]


def _model_at(model: type[BaseModel], dotted: str) -> type[BaseModel] | None:
    found: Any = model
    for name in dotted.split("."):
        field = found.model_fields.get(name)
        found = field.annotation if field is not None else None
        if not (isinstance(found, type) and issubclass(found, BaseModel)):
            return None
    return found  # type: ignore[no-any-return]  # narrowed in the loop
