"""Is the axon reached from outside? A node that the miner is logged in to calls it, now and then and on demand."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from engine.clock import Clock
from engine.control.actions import Report
from engine.diagnostics.look_node import call_from
from engine.events import AxonCalled, EventSink
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

FIRST_S = 30.0
"""After the start: the nodes are being visited for the first time."""
PERIOD_S = 600.0
AGAIN_S = 60.0
"""After a call that failed, so that a passing trouble is not told for ten minutes; and while nobody can be asked."""
CALLERS = 3
"""Nodes that are asked before the answer is no."""


@dataclass(frozen=True, slots=True)
class Call:
    """One node's try: ``open``, ``refused``, ``timeout``, or why it could not try."""

    peer: str
    host: str
    outcome: str


@dataclass(frozen=True, slots=True)
class Reach:
    """``outcome``: ``open``, ``refused`` or ``timeout``; ``unproven`` where no call says anything."""

    outcome: str
    peer: str = ""
    detail: str = ""


def split_address(text: str) -> tuple[str, int] | None:
    """``ip:port`` or ``[ip]:port`` in its parts; None for anything else."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    return (host, int(port)) if colon and host and port.isascii() and port.isdigit() else None


def proves(host: str, address: str) -> bool:
    """Whether a failed call from ``host`` says something about ``address``.

    A node with a private address behind the router of this very host calls the public one by hairpin, which many
    routers do not do; and everybody's loopback is their own.
    """
    theirs, ours = _ip(host), _ip(address)
    if ours is None or theirs is None:
        return True
    if ours.is_loopback:
        return theirs.is_loopback
    return theirs.is_global or not ours.is_global


def callers(peers: Sequence[NodeTarget], address: str, turn: int) -> list[NodeTarget]:
    """Who is asked this time: those whose word counts first, each time beginning with another one."""
    turned = [*peers[turn % len(peers) :], *peers[: turn % len(peers)]] if peers else []
    return sorted(turned, key=lambda peer: not proves(peer.host, address))[:CALLERS]


def judge_calls(address: str, calls: Sequence[Call]) -> Reach:
    """One open door is open; a closed one is believed only from where it can be seen."""
    for call in calls:
        if call.outcome == "open":
            return Reach("open", call.peer)
    for call in calls:
        if call.outcome in ("refused", "timeout") and proves(call.host, address):
            return Reach(call.outcome, call.peer)
    for call in calls:
        if call.outcome in ("refused", "timeout"):
            return Reach("unproven", call.peer, f"{call.outcome}, but it may stand behind the same router")
    return Reach("unproven", calls[0].peer, calls[0].outcome) if calls else Reach("unproven", "", "no healthy node")


class OutsideWatch:
    """``advertised`` is what the chain should say now, ``peers`` the nodes that can be asked."""

    def __init__(
        self,
        pool: NodePool,
        advertised: Callable[[], str],
        peers: Callable[[], Sequence[NodeTarget]],
        *,
        clock: Clock,
        emit: EventSink,
        name: Callable[[NodeTarget], str] = lambda peer: peer.label,
    ) -> None:
        """``name`` is what the operator calls a node."""
        self._pool, self._advertised, self._peers = pool, advertised, peers
        self._clock, self._emit, self._name = clock, emit, name
        self._turn = 0
        self._last: Reach | None = None
        self._one_at_a_time = asyncio.Lock()

    async def run(self) -> None:
        """Ask until cancelled: every ten minutes, sooner after a no or while there is nobody to ask."""
        await self._clock.sleep(FIRST_S)
        while True:
            reach = await self.check()
            is_soon = reach.outcome in ("refused", "timeout") or not reach.peer
            await self._clock.sleep(AGAIN_S if is_soon else PERIOD_S)

    async def act(self, args: Mapping[str, object], report: Report) -> Mapping[str, object]:
        """The action ``reach.check``."""
        del args
        report("a node calls the axon")
        reach = await self.check()
        via = f" (via {reach.peer})" if reach.peer else ""
        words = {"open": "reached from outside", "unproven": f"not known: {reach.detail}"}
        return {"outcome": reach.outcome, "peer": reach.peer,
                "message": words.get(reach.outcome, f"NOT reached from outside: {reach.outcome}") + via}  # fmt: skip

    async def check(self) -> Reach:
        """Let nodes call the advertised address until one gets through; what came of it becomes an event."""
        async with self._one_at_a_time:
            address = self._advertised()
            parts = split_address(address)
            if parts is None:
                return Reach("unproven", "", "no address is advertised")
            calls: list[Call] = []
            for peer in callers(self._peers(), parts[0], self._turn):
                view = await call_from(self._pool, peer, *parts)
                calls.append(Call(self._name(peer), peer.host, view.outcome))
                if view.outcome == "open":
                    break
            self._turn += 1
            reach = judge_calls(parts[0], calls)
            if not calls and reach == self._last:
                return reach
            self._last = reach
            self._emit(
                AxonCalled(
                    at=self._clock.now(),
                    address=address,
                    outcome=reach.outcome,
                    peer=reach.peer,
                    detail=reach.detail[:200],
                )
            )
            return reach


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
