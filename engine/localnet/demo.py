"""The demo without a console: run a subnet for a while, watch its engines, and judge what was seen."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from engine.control.client import ControlClient
from engine.control.models import NodeView, SessionView, VerificationView, View
from engine.errors import BasilicaError
from engine.localnet.cast import Part, Player
from engine.localnet.caught import Evidence, seen_by_miner, seen_by_validator
from engine.localnet.engines import EngineProcess
from engine.localnet.identities import ssh_key
from engine.localnet.pace import Pace
from engine.localnet.subnet import Subnet

_RETRY_S = 0.5
_GRACE_S = 60.0
"""A loaded machine gets so much longer while a part of the cycle was not seen yet."""
_CAST_GRACE_S = 240.0
"""Nodes that come and go, or answer slowly, need several rounds to be caught."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What a headless demo saw. ``missing`` names, in words, every part of the cycle that was not seen."""

    nodes: dict[str, int]
    """Nodes by the miner's last known state."""
    authentications: int
    sessions_opened: int
    sessions_ended: int
    """Before the stop: those that ended on time."""
    verifications: int
    """Passed ones, of all validators."""
    validator_keys_left: int
    """Keys on the nodes after the stop that are neither the operator's nor the miner's."""
    missing: tuple[str, ...] = ()
    caught: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By part: what the miner's and a validator's console said. Only with a cast."""

    @property
    def complete(self) -> bool:
        """Whether the whole cycle was seen and nothing is left."""
        return not self.missing

    def to_json(self) -> str:
        """One JSON object on one line."""
        plain = {**asdict(self), "complete": self.complete}
        if not self.caught:
            del plain["caught"]
        return json.dumps(plain)

    def to_text(self) -> str:
        """A few lines for people."""
        states = ", ".join(f"{count} {state}" for state, count in sorted(self.nodes.items())) or "none seen"
        lines = [
            f"nodes                {states}",
            f"authentications      {self.authentications}",
            f"sessions             {self.sessions_opened} opened, {self.sessions_ended} ended",
            f"verifications        {self.verifications} passed",
            f"validator keys left  {self.validator_keys_left}",
            *(
                f"{part}, by the {role:<9} {said or '(not caught)'}"
                for part, words in self.caught.items()
                for role, said in words.items()
            ),
            *(f"not seen: {item}" for item in self.missing),
            "complete" if self.complete else "incomplete",
        ]
        return "\n".join(lines)


@dataclass(slots=True)
class Sighting:
    """What one engine has shown so far: the newest views, and its counters, which only grow."""

    counters: dict[str, int] = field(default_factory=dict)
    nodes: dict[str, str] = field(default_factory=dict)
    authenticated: set[str] = field(default_factory=set)
    verified: set[str] = field(default_factory=set)
    evidence: Evidence = field(default_factory=Evidence)

    def take(self, views: Iterator[View], counters: dict[str, int] | None) -> None:
        """Note what a snapshot or a batch brought."""
        self.counters.update(counters or {})
        for view in views:
            match view:
                case NodeView():
                    self.nodes[view.id] = view.state
                    self.evidence.take_node(view)
                case SessionView() if view.authenticated_at is not None:
                    self.authenticated.add(view.hotkey or view.id)
                case VerificationView():
                    self.evidence.take_verification(view)
                    if view.passed > 0:
                        self.verified.add(view.node_id)

    def count(self, name: str) -> int:
        """A counter, 0 if it was never shown."""
        return self.counters.get(name, 0)


async def run_headless(
    seconds: float,
    directory: Path,
    *,
    nodes: int = 4,
    cast: Sequence[Part] = (),
    validators: int = 2,
    pace: Pace | None = None,
) -> DemoResult:
    """Run the demo's subnet for ``seconds`` from the moment it serves, stop it, and look at what is left.

    While a part of the cycle was not seen yet it runs on, for at most a minute more, or four with a ``cast``. Raises
    what ``Subnet.start`` raises.
    """
    subnet = Subnet(
        directory, nodes=nodes, cast=cast, validators=validators, assignment="open", pace=pace or Pace.demo()
    )
    async with subnet:
        sightings = await observe(subnet.engines, seconds, nodes, subnet.players)
    return conclude(subnet, sightings)


def headless_demo(seconds: float, directory: Path | None, *, nodes: int, cast: Sequence[Part]) -> DemoResult:
    """``run_headless`` as a program: SIGTERM and SIGHUP count as Ctrl-C, and without a directory everything is made
    in a temporary one, which goes in any case. Raises what ``Subnet.start`` raises, and KeyboardInterrupt."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
    with contextlib.ExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="basilica-demo-")))
        # The directory outlives the loop: threads that still make wallets there are waited for by asyncio.run.
        return asyncio.run(run_headless(seconds, directory, nodes=nodes, cast=cast))


async def observe(
    engines: list[EngineProcess], seconds: float, nodes: int, players: Mapping[str, Player] | None = None
) -> dict[str, Sighting]:
    """Watch all engines over their control sockets for that long or until all was seen; sightings by engine name.

    ``nodes`` are the honest ones.
    """
    cast = players or {}
    sightings = {engine.files.name: Sighting() for engine in engines}
    watching = [asyncio.create_task(_watch(engine, sightings[engine.files.name])) for engine in engines]
    try:
        await asyncio.sleep(seconds)
        patience_s = _CAST_GRACE_S if cast else _GRACE_S
        while patience_s > 0 and unseen(sightings, nodes, cast):
            await asyncio.sleep(_RETRY_S)
            patience_s -= _RETRY_S
    finally:
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    for engine in engines:
        with contextlib.suppress(BasilicaError):  # a dead engine has shown what it had to show
            await _look(engine.files.socket, sightings[engine.files.name])
    return sightings


async def _watch(engine: EngineProcess, sighting: Sighting) -> None:
    while True:
        with contextlib.suppress(BasilicaError):
            client = await ControlClient.connect(engine.files.socket, role="read-only")
            try:
                await _take_snapshot(client, sighting)
                async for batch in client.watch(logs=False):
                    sighting.take((view for views in batch.changed.values() for view in views), batch.counters)
            finally:
                await client.close()
        await asyncio.sleep(_RETRY_S)


async def _look(socket: Path, sighting: Sighting) -> None:
    client = await ControlClient.connect(socket, role="read-only")
    try:
        await _take_snapshot(client, sighting)
    finally:
        await client.close()


async def _take_snapshot(client: ControlClient, sighting: Sighting) -> None:
    snapshot = await client.snapshot()
    sighting.take((view for views in snapshot.views.values() for view in views.values()), snapshot.counters)


def caught(sightings: Mapping[str, Sighting], players: Mapping[str, Player]) -> dict[str, dict[str, str]]:
    """For each part that is played: what the miner and a validator said, empty where they said nothing."""
    ids: dict[Part, list[str]] = {}
    for node_id, player in players.items():
        ids.setdefault(player.part, []).append(node_id)
    miner = sightings.get("miner", Sighting()).evidence
    others = [sighting.evidence for name, sighting in sightings.items() if name != "miner"]
    return {
        part: {
            "miner": seen_by_miner(part, found, miner),
            "validator": next((said for one in others if (said := seen_by_validator(part, found, one))), ""),
        }
        for part, found in ids.items()
    }


def unseen(sightings: dict[str, Sighting], nodes: int, players: Mapping[str, Player] | None = None) -> tuple[str, ...]:
    """The parts of the cycle that no engine has shown yet, in words."""
    miner = sightings.get("miner", Sighting())
    others = [sighting for name, sighting in sightings.items() if name != "miner"]
    cast = players or {}
    verified = set().union(*(sighting.verified for sighting in others)) - set(cast)
    checks = {
        "every node in the miner's list": len(miner.nodes) == nodes + len(cast),
        "authentication of every validator": len(miner.authenticated) >= len(others) > 0,
        "a session that opened": miner.count("sessions_opened") > 0,
        "a passed verification of every node": len(verified) >= nodes > 0,
        "a session that ended on time": miner.count("sessions_ended") > 0,
    }
    checks |= {
        f"the {part} caught by a {role}": bool(said)
        for part, words in caught(sightings, cast).items()
        for role, said in words.items()
    }
    return tuple(name for name, was_seen in checks.items() if not was_seen)


def conclude(subnet: Subnet, sightings: dict[str, Sighting]) -> DemoResult:
    """The result, once the subnet has stopped."""
    miner = sightings.get("miner", Sighting())
    others = [sighting for name, sighting in sightings.items() if name != "miner"]
    left = sum(keys_left(subnet).values())
    missing = unseen(sightings, len(subnet.nodes) - len(subnet.players), subnet.players)
    return DemoResult(
        nodes=dict(Counter(miner.nodes.values())),
        authentications=miner.count("authentications"),
        sessions_opened=miner.count("sessions_opened"),
        sessions_ended=miner.count("sessions_ended"),
        verifications=sum(item.count("verifications") - item.count("verifications_failed") for item in others),
        validator_keys_left=left,
        caught=caught(sightings, subnet.players),
        missing=missing if left == 0 else (*missing, f"key files without validators' keys ({left} left)"),
    )


def keys_left(subnet: Subnet) -> dict[int, int]:
    """Lines per node (by port) that hold another key than the operator's and the miner's."""
    own = {ssh_key(path, "").split()[1].encode() for path in (subnet.layout.operator_key, subnet.layout.miner_key)}
    found = {}
    for node in subnet.nodes:
        lines = [line for line in node.authorized_keys.read_bytes().split(b"\n") if line.strip()]
        found[node.port] = sum(not line.startswith(b"#") and not own & set(line.split()) for line in lines)
    return found
