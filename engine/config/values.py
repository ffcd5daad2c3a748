"""Value types of the configuration files, and how their text and notations are read.

Models are strict: a number in quotes is a wrong type, as it is for the deployed programs. What may be written in more
than one way (durations, paths, lists) says so here.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer


class Section(BaseModel):
    """Base of every section: frozen, strict, tolerant of unknown keys (the loader reports those)."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", use_attribute_docstrings=True)


def parse_duration(value: object) -> float:
    """Seconds from a number or from a ``{secs, nanos}`` table, the two notations of the deployed files."""
    if isinstance(value, dict):
        seconds = _duration_of_table(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value) if abs(value) < 1e15 else math.inf
    else:
        raise ValueError("a number of seconds, or a table { secs = 30, nanos = 0 }")
    if not 0 <= seconds <= _LONGEST_DURATION_S:
        raise ValueError("a duration from 0 seconds to 100 years")
    return seconds


_LONGEST_DURATION_S = 100 * 366 * 86400.0


def _duration_of_table(table: dict[Any, Any]) -> float:
    secs, nanos = table.get("secs", 0), table.get("nanos", 0)
    if (
        not table
        or table.keys() - {"secs", "nanos"}
        or any(isinstance(part, bool) or not isinstance(part, int) for part in (secs, nanos))
        or not 0 <= nanos < 10**9
        or not 0 <= secs < 10**15
    ):
        raise ValueError("a duration table { secs = 30, nanos = 0 } of whole numbers")
    return float(secs + nanos / 1e9)


def _as_number(seconds: float) -> int | float:
    return int(seconds) if seconds.is_integer() else seconds


def _as_table(seconds: float) -> dict[str, int]:
    whole = math.floor(seconds)
    return {"secs": whole, "nanos": min(round((seconds - whole) * 1e9), 10**9 - 1)}


def _path(value: object) -> Path:
    if isinstance(value, Path):
        return value.expanduser()
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("a path in quotes")
    return Path(value).expanduser()


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Duration = Annotated[float, BeforeValidator(parse_duration), PlainSerializer(_as_number, when_used="json")]
"""Seconds, may be zero; written as a plain number."""
Interval = Annotated[Duration, Field(gt=0)]
"""Seconds, more than zero; written as a plain number."""
DurationTable = Annotated[float, BeforeValidator(parse_duration), PlainSerializer(_as_table, when_used="json")]
"""Seconds that the deployed programs want written as ``{ secs, nanos }``."""
IntervalTable = Annotated[DurationTable, Field(gt=0)]
"""The same, more than zero."""
FilePath = Annotated[Path, BeforeValidator(_path)]
"""A path; ``~`` is expanded, and a relative one belongs to the working directory, as in the deployed programs."""
Port = Annotated[int, Field(ge=1, le=65535)]
Netuid = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1, pattern=r"\S")]
Names = Annotated[tuple[str, ...], BeforeValidator(_tuple)]
ListOf = BeforeValidator(_tuple)
"""Marks a tuple field that is an array in the file."""
