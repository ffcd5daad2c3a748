"""Who may knock how often: token buckets, before any signature is checked.

Ours because the libraries for it either make callers wait, keep a thread or a lock, or forget no key; here the
clock is injected, the memory is bounded and a refused caller learns when to come back.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Rate:
    """Calls per second, and how many may come at once."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """Limits of the miner's door. A hotkey is counted per source address: anybody can write a validator's hotkey
    into a request, and must not be able to use up that validator's calls from elsewhere."""

    per_address: Rate = Rate(20.0, 60)
    per_hotkey: Rate = Rate(2.0, 20)
    buckets: int = 4096
    """How many addresses and how many hotkeys are remembered; the longest silent ones are forgotten first."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float
    is_refusing: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """``retry_after_s`` is 0 for an allowed call. ``is_first`` marks the first refusal of a row of them."""

    retry_after_s: float
    is_first: bool

    @property
    def is_allowed(self) -> bool:
        return self.retry_after_s == 0.0


_ALLOWED = Verdict(0.0, False)


class TokenBuckets:
    """One bucket per key, refilled by the time that the caller brings along (monotonic seconds)."""

    def __init__(self, rate: Rate, most: int) -> None:
        self._rate = rate
        self._most = most
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, now: float) -> Verdict:
        """Take one token for this key."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(float(self._rate.burst), now)
            if len(self._buckets) > self._most:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(key)
        bucket.tokens = min(float(self._rate.burst), bucket.tokens + (now - bucket.at) * self._rate.per_second)
        bucket.at = now
        if bucket.tokens >= 1.0:
            bucket.tokens -= 1.0
            bucket.is_refusing = False
            return _ALLOWED
        is_first, bucket.is_refusing = not bucket.is_refusing, True
        return Verdict(max((1.0 - bucket.tokens) / self._rate.per_second, 0.001), is_first)


@lru_cache(maxsize=1024)
def address_key(peer_ip: str) -> str:
    """What counts as one source: an IPv4 address, or the /64 that one IPv6 host can choose its address from."""
    try:
        address = ipaddress.ip_address(peer_ip)
    except ValueError:
        return peer_ip
    if isinstance(address, ipaddress.IPv4Address):
        return peer_ip
    if address.ipv4_mapped is not None:  # how a listener for both kinds sees IPv4: not all of it is one source
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
