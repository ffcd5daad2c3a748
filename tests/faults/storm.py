"""SIGKILL at random moments of an engine's life, under traffic that grants, renews, replaces, revokes and expires."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import math
import random
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.clock import SystemClock
from engine.errors import BasilicaError, ControlRefused
from engine.identity.node_ids import node_id_for
from engine.localnet.engines import has_settled
from engine.ssh.certificates import read_guest_certificate
from engine.ssh.keys import ClientKey
from engine.validator.miner_client import ClientTimeouts, MinerClient, MinerNodes
from tests.faults.observe import (
    Baseline,
    audit_break,
    disagreements,
    grant_rows,
    integrity,
    our_lines,
    settle,
    violations_now,
    ways_in,
)
from tests.support.miner_subnet import NETUID, PATIENCE_S, Validator, create_subnet, ssh_login
from tests.support.nursery import Nursery
from tests.support.sshd import NodeSshd

LIFETIMES_S = (2, 3, 6, 10, 40)
"""Each life draws one: grants of one end in the next, or while nobody lives."""
KEYS_PER_VALIDATOR = 3
CERTIFIED_LIVES = 0.4
"""Of all lives; the others give plain keys to everybody, so that both kinds follow each other on the nodes."""
PHASES = (("start", 25), ("traffic", 60), ("stop", 15))
SETTLED_LIVES = 0.35
"""Of the lives that see traffic; in the others it begins as soon as the engine serves, in the middle of its repairs."""
_QUICK = ClientTimeouts(connect_s=2.0, authenticate_s=5.0, discover_s=12.0)


@dataclass
class Tally:
    """What happened, for the report."""

    kills: Counter[str] = field(default_factory=Counter)
    ended_before_kill: int = 0
    half_done: int = 0
    grants: int = 0
    deployed: int = 0
    settled: int = 0
    discoveries: int = 0
    revocations: int = 0
    operator_edits: int = 0
    moves: int = 0
    logins_allowed: int = 0
    logins_denied: int = 0
    certificates: int = 0
    certificates_allowed: int = 0
    certificates_denied: int = 0
    worst_settle_s: float = 0.0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kills = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        return (
            f"{self.kills.total()} kills ({kills}), {self.half_done} of them with work half done, "
            f"{self.settled} settled restarts, {self.ended_before_kill} engines ended before their kill, "
            f"{self.discoveries} discoveries begun, {self.grants} grants, {self.deployed} of them on a node, "
            f"{self.revocations} revocations begun, {self.operator_edits} operator edits, "
            f"{self.moves} moves between key files begun, "
            f"logins tried: {self.logins_allowed} that must work, {self.logins_denied} that must not; "
            f"{self.certificates} certificates, tried: {self.certificates_allowed} that must work, "
            f"{self.certificates_denied} that must not; "
            f"slowest agreement {self.worst_settle_s:.1f} s; {len(self.violations)} violations"
        )


@dataclass(frozen=True)
class _Paper:
    """A certificate that a validator was given, with its key."""

    node: NodeSshd
    key: ClientKey
    text: str

    @property
    def grant_id(self) -> str:
        return read_guest_certificate(self.text, self.key).principals[0].removeprefix("basilica-")

    @property
    def ends(self) -> int:
        return read_guest_certificate(self.text, self.key).expires_at_unix

    def login(self) -> subprocess.CompletedProcess[str]:
        """With the certificate alone: the key beside it is a file of its own."""
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "k"
            self.key.save(path)
            Path(f"{path}-cert.pub").write_text(self.text + "\n")
            return ssh_login(self.node, path)


def _has_key(paper: _Paper) -> bool:
    """Whether the plain key opens the node too: ssh tries it after the certificate."""
    blob = base64.b64decode(paper.key.blob_base64)
    return any(line.blob == blob for line in our_lines(paper.node))


class Storm:
    """One subnet, killed again and again. ``seed`` decides everything that the machine's timing does not."""

    def __init__(self, root: Path, nodes: list[NodeSshd], nursery: Nursery, seed: int, *, validators: int = 3) -> None:
        self.random = random.Random(seed)
        self.tally = Tally()
        self.nursery = nursery
        self.subnet = create_subnet(
            root,
            nodes,
            validators=validators,
            access={
                "session_lifetime": LIFETIMES_S[-1],
                "reconcile_interval": 1,
                "node_deadline": 8,
                "revoke_on_exit": True,
                "ssh_certificates": False,
            },
            validator_assignment={"enabled": False, "interval": 1},
            node_management={
                "health_check_interval": 10,
                "nodes": [{"host": n.host, "port": n.port, "username": n.username} for n in nodes],
            },
        )
        self._movable = [node for node in nodes if node.has_own_etc]
        for node in self._movable:
            node.root_keys.write_bytes((root / "node_key.pub").read_bytes())
            node.root_keys.chmod(0o600)
        self.by_id = {node_id_for(n.username, n.host, n.port): n for n in nodes}
        self.baseline = Baseline(self.subnet)
        self.keys: dict[str, list[tuple[ClientKey, Path]]] = {}
        for validator in self.subnet.validators:
            mine = [(validator.key, validator.key_path)]
            for number in range(1, KEYS_PER_VALIDATOR):
                key, path = ClientKey.generate("another"), root / f"{validator.key_path.name}.{number}"
                key.save(path)
                mine.append((key, path))
            self.keys[validator.hotkey] = mine
        self._papers: list[_Paper] = []
        self._say: Callable[[str], None] = lambda _: None
        self._ready_after_s = 1.0

    async def run(self, kills: int, *, say: Callable[[str], None]) -> Tally:
        """Kill so often, then let everything run out and check that nothing is left."""
        self._say = say
        await self._first_life()
        while self.tally.kills.total() < kills and len(self.tally.violations) < 5:
            await self._one_life()
            if self.tally.kills.total() % 20 == 0:
                say(str(self._counted()))
        await self._last_life()
        return self._counted()

    def _counted(self) -> Tally:
        rows = grant_rows(self.subnet)
        self.tally.grants, self.tally.deployed = len(rows), sum(row.deployed_exp is not None for row in rows)
        return self.tally

    # --- one life ---------------------------------------------------------------------------------------------

    async def _one_life(self) -> None:
        phase = self.random.choices([p for p, _ in PHASES], [w for _, w in PHASES])[0]
        self._start()
        if phase == "start":
            await asyncio.sleep(self._moment(self._ready_after_s * 1.5))
            await self._kill(phase)
            return
        await self._serves()
        if self.random.random() < SETTLED_LIVES:
            await self._settled()
        async with self._traffic():
            # Longer than a start takes here: on a slow machine a shorter time would kill before anything was granted.
            await asyncio.sleep(self._moment(max(8.0, 4 * self._ready_after_s)))
            if phase == "stop":
                self._process().send_signal(15)
                await asyncio.sleep(self._moment(1.0))
            await self._kill(phase)
        if phase == "traffic" and self.random.random() < 0.25:
            await self._outlive()

    def _moment(self, longest_s: float) -> float:
        """A time to kill after: every other one from all orders of magnitude, for the first instants."""
        if self.random.random() < 0.5:
            return self.random.uniform(0.0, longest_s)
        return math.exp(self.random.uniform(math.log(0.002), math.log(longest_s)))

    async def _first_life(self) -> None:
        """Every node is enrolled once, which no life of a few seconds could do; then the first kill."""
        self._start(certified=True, node_deadline_s=60)
        await self._serves()
        await self.subnet.until(has_settled, seconds=600.0)
        for node in self._movable:
            await self._protect(node)
        await self._kill("first")

    async def _last_life(self) -> None:
        for validator in self.subnet.validators:
            self.subnet.admin.set_permit(NETUID, validator.hotkey, True)
        self._start()
        await self._serves()
        await self._settled()
        await asyncio.sleep(LIFETIMES_S[-1] + 1.0)
        await self._settled()
        left = {n.port: len(our_lines(n)) for n in self.subnet.nodes if our_lines(n)}
        if left:
            self._blame([f"lines left at the end: {left}"])
        still_open = [row.id for row in grant_rows(self.subnet) if row.removed_at is None]
        if still_open:
            self._blame([f"rows left open at the end: {still_open}"])
        snapshot = await self.subnet.snapshot()
        shown = {n.port: (n.keys_in_place, n.orphans) for n in snapshot.views["nodes"].values()}  # type: ignore[union-attr]
        if any(counts != (0, 0) for counts in shown.values()):
            self._blame([f"the operator sees keys that are not there: {shown}"])
        if (status := await asyncio.to_thread(self.subnet.stop)) != 0:
            self._blame([f"the last engine ended with {status}: {self.subnet.log()[-1500:]}"])
        self._blame(violations_now(self.baseline))
        self._blame(integrity(self.subnet))

    def _start(self, *, certified: bool | None = None, node_deadline_s: int = 8) -> None:
        text = self.subnet.config_path.read_text()
        text = re.sub(r"node_deadline = \d+", f"node_deadline = {node_deadline_s}", text)
        lifetime = f"session_lifetime = {self.random.choice(LIFETIMES_S)}"
        text = re.sub(r"session_lifetime = \d+", lifetime, text)
        certified = self.random.random() < CERTIFIED_LIVES if certified is None else certified
        certificates = f"ssh_certificates = {str(certified).lower()}"
        self.subnet.config_path.write_text(re.sub(r"ssh_certificates = \w+", certificates, text))
        self.subnet._process = self.nursery.start(  # type: ignore[assignment]  # has what the subnet uses of Popen
            self.subnet.config_path, self.subnet.root / "engine.log"
        )
        self._started = time.monotonic()

    def _process(self) -> Any:
        assert self.subnet._process is not None
        return self.subnet._process

    async def _kill(self, phase: str) -> None:
        """SIGKILL, then everything that must hold even while no engine runs."""
        status = await asyncio.to_thread(self.subnet.kill)
        if status == -9:
            self.tally.kills[phase] += 1
        elif status == 0 and phase == "stop":
            self.tally.ended_before_kill += 1
        else:
            self._blame([f"the engine ended by itself with {status}: {self.subnet.log()[-1500:]}"])
        self._blame(await asyncio.to_thread(violations_now, self.baseline))
        self._blame(await asyncio.to_thread(integrity, self.subnet))
        self.tally.half_done += bool(disagreements(self.subnet, self.by_id))

    async def _serves(self) -> None:
        """The engine answers on its socket."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(BasilicaError):
                await self.subnet.snapshot()
                break
            assert self.subnet._process is not None
            if self.subnet._process.poll() is not None or time.monotonic() > deadline:
                self._blame([f"the engine does not come up: {self.subnet.log()[-1500:]}"])
                return
            await asyncio.sleep(0.03)
        self._ready_after_s = time.monotonic() - self._started

    async def _settled(self) -> None:
        """Rows and nodes agree, and sampled keys open exactly what they should."""
        began = time.monotonic()
        self._blame(await asyncio.to_thread(settle, self.subnet, self.by_id))
        self.tally.worst_settle_s = max(self.tally.worst_settle_s, time.monotonic() - began)
        self._blame(await asyncio.to_thread(violations_now, self.baseline))
        if broken := await audit_break(self.subnet):
            self._blame([f"the audit log's chain is broken: {broken}"])
        await self._try_logins()
        self.tally.settled += 1

    async def _try_logins(self) -> None:
        """One key that must be denied, and one that must be let in when there is one with time enough left."""
        now = time.time()
        node_id, node = self.random.choice(list(self.by_id.items()))
        await self._try_certificates()
        wanted = [row for row in grant_rows(self.subnet) if row.node_id == node_id and row.is_wanted(now)]
        live = {row.blob_base64: row.expires_at for row in wanted}
        by_certificate = {row.blob_base64 for row in wanted if row.certified}
        pool = [pair for pairs in self.keys.values() for pair in pairs]
        self.random.shuffle(pool)
        inside = [
            (key, path)
            for key, path in pool
            if live.get(key.blob_base64, 0.0) > now + 2.0 and key.blob_base64 not in by_certificate
        ]
        for key, path in inside[:1]:
            result = await asyncio.to_thread(ssh_login, node, path)
            if time.time() < live[key.blob_base64] - 1.0:  # else the machine was too slow for the question
                self.tally.logins_allowed += 1
                if result.returncode != 0:
                    self._blame([f"{path.name} does not open {node.port}: {result.stderr}"])
        outside = [path for key, path in pool if key.blob_base64 not in live]
        for path in outside[:1]:
            self.tally.logins_denied += 1
            if (await asyncio.to_thread(ssh_login, node, path)).returncode != 255:
                self._blame([f"{path.name} still opens {node.port}"])

    async def _try_certificates(self) -> None:
        """One certificate of a grant that stands, and one of a grant that is over: the node tells them apart."""
        rows = {row.id: row for row in grant_rows(self.subnet)}
        self.random.shuffle(self._papers)
        good = [p for p in self._papers if rows[p.grant_id].is_wanted(time.time()) and p.ends > time.time() + 2.0]
        over = [p for p in self._papers if not rows[p.grant_id].is_wanted(time.time()) and not _has_key(p)]
        for paper in good[:1]:
            result = await asyncio.to_thread(paper.login)
            # Too slow a machine for the question, or the next life gives keys again: then it says nothing.
            if time.time() < paper.ends - 1.0 and self._names(paper):
                self.tally.certificates_allowed += 1
                if result.returncode != 0:
                    self._blame([f"a certificate for {paper.grant_id} does not open: {result.stderr}"])
        for paper in over[:1]:
            self.tally.certificates_denied += 1
            if (await asyncio.to_thread(paper.login)).returncode != 255:
                self._blame([f"a certificate for {paper.grant_id} still opens {paper.node.port}"])

    def _names(self, paper: _Paper) -> bool:
        return any(way.grant_id == paper.grant_id and way.is_certified for way in ways_in(paper.node))

    async def _outlive(self) -> None:
        """With no engine at all, every line's time passes: each key that still stands in a file must be denied."""
        lines = [(node, line) for node in self.subnet.nodes for line in our_lines(node) if not line.guests]
        if not lines or max(line.expires_at_unix for _, line in lines) > time.time() + 4.0:
            return
        await asyncio.sleep(max(0.0, max(line.expires_at_unix for _, line in lines) + 2.0 - time.time()))
        paths = {key.blob_base64.rstrip("="): path for pairs in self.keys.values() for key, path in pairs}
        for node, line in self.random.sample(lines, min(3, len(lines))):
            path = next(path for blob, path in paths.items() if blob.encode() in line.raw)
            self.tally.logins_denied += 1
            if (await asyncio.to_thread(ssh_login, node, path)).returncode != 255:
                self._blame([f"a key outlived its time on {node.port}: {line.raw!r}"])

    def _blame(self, found: list[str]) -> None:
        for one in found:
            self.tally.violations.append(f"after kill {self.tally.kills.total()}: {one}")
            self._say(self.tally.violations[-1])

    # --- traffic ----------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _traffic(self):  # type: ignore[no-untyped-def]
        bodies: list[Coroutine[None, None, None]] = [
            *(self._validator(v, random.Random(self.random.random())) for v in self.subnet.validators),
            self._operator(random.Random(self.random.random())),
            self._mover(random.Random(self.random.random())),
            self._chain(random.Random(self.random.random())),
        ]
        tasks = [asyncio.create_task(body) for body in bodies]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for validator in self.subnet.validators:
                self.subnet.admin.set_permit(NETUID, validator.hotkey, True)

    async def _validator(self, validator: Validator, dice: random.Random) -> None:
        key = dice.choice(self.keys[validator.hotkey])[0]
        while True:
            if dice.random() < 0.25:
                key = dice.choice(self.keys[validator.hotkey])[0]
            client = MinerClient(
                f"127.0.0.1:{self.subnet.grpc_port}",
                validator.wallet.signer,
                self.subnet.miner.signer.hotkey,
                clock=SystemClock(),
                timeouts=_QUICK,
                attempts=1,
                dialect=dice.choice(("A", "B")),
            )
            self.tally.discoveries += 1
            with contextlib.suppress(BasilicaError):
                offer = await client.discover(key.public_line)
                self._keep_papers(key, offer)
            await asyncio.sleep(dice.uniform(0.0, 0.4))

    def _keep_papers(self, key: ClientKey, offer: MinerNodes) -> None:
        ports = {node.port: node for node in self.subnet.nodes}
        for node in offer.nodes:
            if node.certificate:
                self.tally.certificates += 1
                self._papers.append(_Paper(ports[node.port], key, node.certificate))
        del self._papers[:-60]

    async def _operator(self, dice: random.Random) -> None:
        while True:
            await asyncio.sleep(dice.uniform(0.1, 0.6))
            if dice.random() < 0.5:
                node = dice.choice(self.subnet.nodes)
                line = f"# operator's note {self.tally.operator_edits}\n".encode()
                self.baseline.append(node, line)
                self.tally.operator_edits += 1
                continue
            self.tally.revocations += 1
            with contextlib.suppress(BasilicaError):
                await self.subnet.act("session.end", hotkey=dice.choice(self.subnet.validators).hotkey)

    async def _mover(self, dice: random.Random) -> None:
        """The operator has a node's grants moved to the file that only root can write, and back."""
        while self._movable:
            await asyncio.sleep(math.exp(dice.uniform(math.log(0.1), math.log(6.0))))
            self.tally.moves += 1
            with contextlib.suppress(BasilicaError):
                await self._move(dice.choice(self._movable), dice.choice(("node.protect", "node.unprotect")))

    async def _protect(self, node: NodeSshd) -> None:
        """A loaded machine may need more than a node's deadline for it: then the operator does it again."""
        for _ in range(10):
            try:
                await self._move(node, "node.protect")
                return
            except ControlRefused as refusal:
                if refusal.reason != "not_moved":
                    raise
        self._blame([f"the grants of {node.port} were not moved"])

    async def _move(self, node: NodeSshd, verb: str) -> None:
        node_id = next(one for one, other in self.by_id.items() if other is node)
        await self.subnet.act(verb, node_id=node_id)

    async def _chain(self, dice: random.Random) -> None:
        while True:
            await asyncio.sleep(dice.uniform(0.2, 1.0))
            validator = dice.choice(self.subnet.validators)
            self.subnet.admin.set_permit(NETUID, validator.hotkey, dice.random() < 0.7)
