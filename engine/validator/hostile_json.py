"""JSON from strangers: no doubled keys, no NaN, bounded depth, and a reader that asks for types and sizes."""

from __future__ import annotations

import json
import math
from typing import NoReturn

from engine.errors import AttestationRefused

MAX_DEPTH = 12


def parse_json(text: str) -> object:
    """The value in a text. Raises AttestationRefused."""
    try:
        value: object = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_short_int, parse_float=float
        )
    except (ValueError, RecursionError):
        raise _malformed("it is not one valid JSON value") from None
    if _depth(value, 0) > MAX_DEPTH:
        raise _malformed("it is nested too deep")
    return value


class Reader:
    """One JSON object with the name by which messages call it. Every getter raises AttestationRefused."""

    def __init__(self, value: object, name: str) -> None:
        if not isinstance(value, dict):
            raise _malformed(f"{name} is no object")
        self.value = value
        self._name = name

    def child(self, key: str) -> Reader:
        """A nested object."""
        return Reader(self._get(key), f"{self._name}.{key}")

    def children(self, key: str, most: int) -> tuple[Reader, ...]:
        """A list of objects."""
        items = self._list(key, most)
        return tuple(Reader(item, f"{self._name}.{key}[{place}]") for place, item in enumerate(items))

    def text(self, key: str, most: int, *, default: str | None = None) -> str:
        """A text of at most so many characters."""
        value = self.value.get(key, default)
        if not isinstance(value, str) or len(value) > most:
            raise _malformed(f"{self._name}.{key} is no text of at most {most} characters")
        return value

    def texts(self, key: str, most: int, *, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A list of short texts."""
        if default is not None and key not in self.value:
            return default
        items = self._list(key, most)
        if not all(isinstance(item, str) and len(item) <= 256 for item in items):
            raise _malformed(f"{self._name}.{key} is no list of short texts")
        return tuple(str(item) for item in items)

    def whole(self, key: str, most: int, *, default: int | None = None) -> int:
        """A whole number from 0 to ``most``."""
        value = self.value.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise _malformed(f"{self._name}.{key} is no whole number from 0 to {most}")
        return value

    def number(self, key: str, most: float) -> float:
        """A finite number from 0 to ``most``."""
        value = self.value.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise _malformed(f"{self._name}.{key} is no number")
        if not (math.isfinite(value) and 0 <= value <= most):
            raise _malformed(f"{self._name}.{key} is no number from 0 to {most:g}")
        return float(value)

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.value.get(key)
        if not isinstance(value, bool):
            raise _malformed(f"{self._name}.{key} is neither true nor false")
        return value

    def _get(self, key: str) -> object:
        return self.value.get(key)

    def _list(self, key: str, most: int) -> list[object]:
        value = self.value.get(key)
        if not isinstance(value, list) or len(value) > most:
            raise _malformed(f"{self._name}.{key} is no list of at most {most}")
        return value


def _malformed(what: str) -> AttestationRefused:
    return AttestationRefused(f"the answer is malformed: {what}", reason="malformed")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key comes twice")
    return result


def _no_constant(word: str) -> NoReturn:
    raise ValueError(word)


def _short_int(digits: str) -> int:
    if len(digits) > 24:
        raise ValueError("number too long")
    return int(digits)


def _depth(value: object, level: int) -> int:
    if level > MAX_DEPTH:
        return level
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max((_depth(item, level + 1) for item in inner), default=level)
