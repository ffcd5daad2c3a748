"""Answers that were made a moment ago: many ask for the same, and making an answer costs ten times a look."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

FRESH_S = 1.0
MOST_ANSWERS = 512
MOST_BYTES = 8 * 1024 * 1024
Headers: TypeAlias = "tuple[tuple[bytes, bytes], ...]"
Key: TypeAlias = "tuple[str, bytes, bytes, str | None]"
"""The group of routes, path, query, and the one miner that the caller may see."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer: headers with their tag, body."""

    headers: Headers
    body: bytes
    tag: str


def tagged(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> Answer:
    """The answer with a weak tag over its body."""
    tag = f'W/"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    return Answer((*headers, (b"etag", tag.encode())), body, tag)


class Answers:
    """The last answers by what was asked, for ``FRESH_S``; bounded in number and bytes."""

    def __init__(self, *, fresh_s: float = FRESH_S, most: int = MOST_ANSWERS, most_bytes: int = MOST_BYTES) -> None:
        self._fresh_s = fresh_s
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[Key, tuple[float, Answer]] = OrderedDict()

    def recall(self, key: Key, now: float) -> Answer | None:
        """What was answered a moment ago. ``now`` is monotonic."""
        found = self._kept.get(key)
        if found is None:
            return None
        made_at, answer = found
        return answer if 0 <= now - made_at < self._fresh_s else None

    def keep(self, key: Key, answer: Answer, now: float) -> None:
        """For those who ask next."""
        self._drop(key)
        self._kept[key] = now, answer
        self._bytes += len(answer.body)
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Key) -> None:
        old = self._kept.pop(key, None)
        if old is not None:
            self._bytes -= len(old[1].body)
