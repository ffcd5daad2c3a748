"""How many sessions one validator may have, and open in an hour. A session is a hotkey with one SSH key.

A key that replaces another still counts until the time of the replaced one is over: each new key costs a rewrite
of every node, and that is what these limits are for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from engine.store.records import Opening

HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Per validator. A renewal with a key that is counted already is not a new session."""

    concurrent: int = 5
    new_per_hour: int = 20


class SessionQuota:
    """Judges new sessions by the stored openings and by those that are under way."""

    def __init__(self, limits: SessionLimits) -> None:
        self._limits = limits
        self._claims: Counter[tuple[str, str]] = Counter()

    def claim(
        self, stored: Sequence[Opening], hotkey: str, fingerprint: str, *, now: float, until: float
    ) -> Opening | float:
        """The opening to store with the call, or in how many seconds to come again. ``release`` every opening."""
        counted = {o.key_fingerprint: o for o in stored if o.until > now or o.opened_at > now - HOUR_S}
        known = counted.get(fingerprint)
        if known is None and not self._claims[hotkey, fingerprint]:
            wait_s = self._wait_s(list(counted.values()), self._under_way(hotkey, counted), now)
            if wait_s > 0.0:
                return wait_s
        self._claims[hotkey, fingerprint] += 1
        if known is None:
            return Opening(hotkey, fingerprint, now, until)
        return Opening(hotkey, fingerprint, known.opened_at, max(known.until, until))

    def release(self, opening: Opening) -> None:
        """The call that claimed it is stored or has failed."""
        key = opening.hotkey, opening.key_fingerprint
        self._claims[key] -= 1
        if self._claims[key] <= 0:
            del self._claims[key]

    def _under_way(self, hotkey: str, counted: dict[str, Opening]) -> int:
        return sum(1 for of, key in self._claims if of == hotkey and key not in counted)

    def _wait_s(self, counted: Sequence[Opening], under_way: int, now: float) -> float:
        ends = sorted(o.until for o in counted if o.until > now)
        starts = sorted(o.opened_at for o in counted if o.opened_at > now - HOUR_S)
        return max(
            _until_room([end - now for end in ends], self._limits.concurrent - under_way),
            _until_room([start + HOUR_S - now for start in starts], self._limits.new_per_hour - under_way),
        )


def _until_room(leaves_in_s: Sequence[float], room: int) -> float:
    """When so many have left that one more fits; a second when it is those under way that fill the room."""
    if room <= 0:
        return 1.0
    return leaves_in_s[len(leaves_in_s) - room] if len(leaves_in_s) >= room else 0.0
