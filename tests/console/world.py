"""A small fleet made of real events, and an engine in the test's own process behind the client's interface."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import events as ev
from engine.control.client import Batch, Snapshot
from engine.control.models import LogRecord, View
from engine.control.state import LiveState
from engine.errors import ControlRefused, EngineUnreachable

NOW = 1_790_000_000.0
ASSIGNED = "5G3qVaXzKMPDm5AJ3dpzbpUC27kpccBvDwzSWXrq8M6qMmbC"
OTHER = "5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
MINER = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"


def miner_events(nodes: int = 6, *, now: float = NOW, with_ramp: bool = False) -> list[ev.Event]:
    """A miner whose fleet has a changed host key, a suspect node and a service that restarts."""
    out: list[ev.Event] = [
        ev.EngineStarted(
            at=now - 7200, role="miner", name="gpu-house-1", build="test", hotkey=MINER, network="finney", netuid=39
        ),
        ev.MetagraphRead(
            at=now - 4, netuid=39, block=4_812_233, neurons=256, validators=14, own_uid=117, own_stake_tao=12.0,
            own_incentive=0.0313, own_emission=1.2,
        ),
        ev.AxonChecked(
            at=now - 60, on_chain="203.0.113.7:8080", bound="203.0.113.7:8080", advertised="203.0.113.7:8080"
        ),
        ev.AssignmentChanged(
            at=now - 200_000, strategy="highest_stake", validator_hotkey=ASSIGNED, uid=3, stake_tao=48_210.0,
            reason="highest stake with permit",
        ),
    ]  # fmt: skip
    for name in ("door", "fleet", "chain", "reconciler", "assignment"):
        out.append(ev.ServiceStarted(at=now - 7200, service=name))
    out.append(ev.ServiceCrashed(at=now - 5, service="metrics", error="port 9090 is taken", retry_in_s=25.0))
    for number in range(1, nodes + 1):
        out += node_events(number, now=now)
    out += access_events(nodes, now=now)
    if with_ramp:
        for number in range(1, nodes + 1):
            out += ramp_events(number, now=now)
    out += [
        ev.NodeStateChanged(at=now - 720, node_id=node_id(3), old="healthy", new="suspect", reason="docker runtime"),
        ev.HostKeyChanged(
            at=now - 840, node_id=node_id(2), pinned="SHA256:" + "a" * 43, presented="SHA256:" + "b" * 43
        ),
        ev.AlertRaised(
            at=now - 840, alert_id="hostkey-2", level="critical", subject="node-02", message="host key changed",
            hint="compare the fingerprints",
        ),
        ev.AlertRaised(
            at=now - 500, alert_id="cert", level="warning", subject="metrics",
            message="certificate expires in 6 days", hint="renew it",
        ),
    ]  # fmt: skip
    return out


def ramp_events(number: int, *, now: float = NOW) -> list[ev.Event]:
    """A ramp of 14, 11.2, 8.4 ... days, one reset, and what a validator publishes."""
    days = max(16.8 - 2.8 * number, 0.5)
    share = min(days / 14, 1.0)
    return [
        ev.RampEstimated(
            at=now - 30, node_id=node_id(number), validator_hotkey=ASSIGNED, minutes=int(days * 1440),
            percent=100 * share, since=now - days * 86_400, full_at=now + (14 - days) * 86_400,
            next_full_at=now + 6600, quiet_until=now + 5400, estimated_score=1.0 if number < 5 else 0.5,
            resets=(f"{now - days * 86_400:.0f} 7200 docker runtime",) if number == 3 else (),
            resets_total=int(number == 3), failure_cost_gpus=8 * share, failure_cost_percent=100 * share / 6,
        ),
        ev.NodeObserved(
            at=now - 300, node_id=node_id(number), source="metrics", uptime_minutes=days * 1440, multiplier=share,
            status="active",
        ),
        ev.NodeInspected(
            at=now - 200, node_id=node_id(number), cuda="12.8", docker_ok=number != 3, docker_version="27.3",
            docker_error="no nvidia runtime" if number == 3 else "", nvidia_runtime_ok=number != 3, disk_path="/var",
            disk_free_bytes=1_400_000_000_000, disk_total_bytes=3_840_000_000_000, sshd_password_login=False,
            sshd_root_login="prohibit-password", sshd_max_startups="10:30:100", sshd_max_sessions=10,
            gpus=tuple(
                f'{{"index": {i}, "uuid": "GPU-{number:04d}-{i}", "memory_mib": 81559, "memory_used_mib": 40960, '
                f'"utilisation_percent": 62.0, "temperature_c": 5{i}.0, "power_w": 420.0}}'
                for i in range(8)
            ),
        ),
    ]  # fmt: skip


def node_id(number: int) -> str:
    """The id of the numbered node."""
    return f"00000000-0000-5000-8000-{number:012d}"


def node_events(number: int, *, now: float = NOW) -> list[ev.Event]:
    """One healthy node."""
    key = f"SHA256:{number:043d}"
    return [
        ev.NodeAdded(
            at=now - 7200, node_id=node_id(number), label=f"node-{number:02d}", host=f"10.0.0.{number % 250}",
            port=22, username="basilica",
        ),
        ev.HostKeyPinned(at=now - 7100, node_id=node_id(number), fingerprint=key),
        *(checked(number, at=now - 60 * (12 - i) - 20) for i in range(12)),
        ev.NodeStateChanged(at=now - 7000, node_id=node_id(number), old="unknown", new="healthy", reason=""),
        ev.ForeignKeysSeen(at=now - 60, node_id=node_id(number), operator_keys=2, leftovers=0, orphans=0),
    ]  # fmt: skip


def checked(number: int, *, at: float, load: float | None = None) -> ev.NodeChecked:
    """One passed check."""
    return ev.NodeChecked(
        at=at, node_id=node_id(number), ok=True, latency_ms=40.0 + number % 9, gpu_model="NVIDIA H100 80GB HBM3",
        gpu_count=8, gpu_memory_mib=81559, gpu_uuids=tuple(f"GPU-{number:04d}-{i}" for i in range(8)),
        driver="570.86.15", cuda="12.8", utilisation_percent=load if load is not None else 60.0 + number % 30,
        temperature_c=55.0 + number % 8, sshd_version="OpenSSH_9.6", clock_skew_s=0.2,
    )  # fmt: skip


def access_events(nodes: int, *, now: float = NOW) -> list[ev.Event]:
    """Two validators: one inside, one that only signed in; one that is over."""
    out: list[ev.Event] = []
    for hotkey, uid, stake in ((ASSIGNED, 3, 48_210.0), (OTHER, 7, 21_050.5)):
        out.append(
            ev.ValidatorAuthenticated(
                at=now - 130, validator_hotkey=hotkey, uid=uid, stake_tao=stake, dialect="A",
                peer="198.51.100.20:40112", expires_at=now + 3470,
            )
        )  # fmt: skip
    for number in range(1, min(nodes, 12) + 1):
        grant = f"grant-{number}"
        out.append(
            ev.GrantWritten(
                at=now - 125, grant_id=grant, node_id=node_id(number), validator_hotkey=ASSIGNED,
                key_fingerprint="SHA256:k", expires_at=now + 2460, renewed=False,
            )
        )  # fmt: skip
        if number != 2:
            out.append(
                ev.KeyDeployed(
                    at=now - 124, grant_id=grant, node_id=node_id(number), validator_hotkey=ASSIGNED,
                    expires_at=now + 2460, expiry_form="utc", renewed=False,
                )
            )  # fmt: skip
    out.append(
        ev.DiscoveryAnswered(
            at=now - 120, validator_hotkey=ASSIGNED, dialect="A", peer="198.51.100.20:40112", assigned=True,
            nodes_ready=nodes - 1, nodes_failed=1, duration_ms=812.0, key_fingerprint="SHA256:k",
            access_until=now + 2460,
        )
    )  # fmt: skip
    return out


def validator_events(now: float = NOW) -> list[ev.Event]:
    """A validator that knows three miners and verified two nodes."""
    return [
        ev.EngineStarted(
            at=now - 3600, role="validator", name="val-1", build="test", hotkey=ASSIGNED, network="finney", netuid=39
        ),
        ev.MetagraphRead(at=now - 3, netuid=39, block=4_812_233, neurons=256, validators=14, own_uid=3),
        ev.MinerDiscovered(at=now - 3000, hotkey=MINER, uid=117, endpoint="203.0.113.7:8080"),
        ev.MinerDiscovered(at=now - 3000, hotkey=OTHER, uid=118, endpoint="203.0.113.8:8080"),
        ev.MinerAnswered(at=now - 90, hotkey=MINER, uid=117, dialect="B", nodes=2, duration_ms=640.0),
        ev.MinerFailed(
            at=now - 80, hotkey=OTHER, uid=118, stage="connect", error_code="miner_unreachable", message="timed out"
        ),
        ev.NodeVerified(
            at=now - 70, verification_id="v1", miner_hotkey=MINER, miner_uid=117, node_id=node_id(1),
            endpoint="basilica@10.0.0.1:22", tier="lightweight", ok=True, duration_ms=900.0,
            gpu_model="NVIDIA H100 80GB HBM3", gpu_uuids=("GPU-1", "GPU-2"),
        ),
        ev.NodeVerified(
            at=now - 60, verification_id="v2", miner_hotkey=MINER, miner_uid=117, node_id=node_id(2),
            endpoint="basilica@10.0.0.2:22", tier="lightweight", ok=False, duration_ms=30_000.0,
            error_code="ssh_timeout", message="no answer in 30 s",
        ),
    ]  # fmt: skip


def busy_validator_events(now: float = NOW) -> list[ev.Event]:
    """A vector in force, one node in the middle of a full verification, one that waits for its own."""
    whose: dict[str, Any] = {"miner_hotkey": MINER, "miner_uid": 117, "tier": "full"}
    steps = [
        ("host_key", "ok", "SHA256:abc, first seen"),
        ("ssh_login", "ok", "basilica@10.0.0.3:22, OpenSSH_9.6"),
        ("gpu", "ok", "8 x NVIDIA H100 80GB HBM3, driver 570, CUDA 12.8"),
        ("attestation", "failed", "the signature does not fit the answer"),
        ("compute", "skipped", "no attestation"),
        ("docker_gpu", "impossible", "not possible here: no container engine"),
    ]
    place = {"miner_hotkey": MINER, "node_id": node_id(3), "verification_id": "v3"}
    return [
        ev.VerificationQueued(
            at=now - 50, node_id=node_id(4), endpoint="basilica@10.0.0.4:22", reason="the node is new", **whose
        ),
        ev.VerificationQueued(
            at=now - 45, node_id=node_id(3), endpoint="basilica@10.0.0.3:22", reason="the node is offline", **whose
        ),
        ev.VerificationStarted(
            at=now - 40, node_id=node_id(3), endpoint="basilica@10.0.0.3:22", verification_id="v3", steps=13, **whose
        ),
        *(
            ev.VerificationStepFinished(
                at=now - 30 + position, step=step, verdict=verdict, evidence=evidence, duration_ms=120.0 * position,
                position=position, **place,
            )
            for position, (step, verdict, evidence) in enumerate(steps)
        ),
        ev.WeightsSet(
            at=now - 600, block=4_812_180, profile="documented", version_key=8, uids=3, burn=6553, total=65_534,
            next_block=4_812_540, burn_uid=204, weights=("117 40000", "118 18981", "204 6553"),
            portions=("117 H100 58982 × 12 / 17.7, cut off = 40000", "118 H100 last in line, the rest = 18981"),
            pools=("H100: 100 % of what is not burnt = 58982, miners 2, total score 17.7",),
        ),
    ]  # fmt: skip


def some_logs(count: int = 40, *, now: float = NOW) -> list[LogRecord]:
    """Log lines of every level, one per ten seconds."""
    kinds = (
        ("debug", "node.checked", {"node": "node-01", "latency_ms": "41"}),
        ("info", "door.authenticated", {"validator": ASSIGNED, "dialect": "A"}),
        ("info", "key.deployed", {"node": "node-03", "grant": "grant-3"}),
        ("warning", "door.refused", {"status": "PERMISSION_DENIED", "reason": "no validator permit"}),
        ("error", "node.host_key_changed", {"node": "node-02"}),
    )
    out = []
    for seq in range(1, count + 1):
        level, event, fields = kinds[seq % len(kinds)]
        out.append(LogRecord(seq=seq, at=now - 10 * (count - seq), level=level, event=event, fields=dict(fields)))
    return out


@dataclass(slots=True)
class Hello:
    """What the in-test engine says first."""

    build: str = "test"
    instance: str = "one"
    role: str = "operator"
    proto: int = 1


@dataclass
class TestEngine:
    """An engine behind the client's interface, fed by real events through the real fold."""

    __test__ = False

    state: LiveState = field(default_factory=LiveState)
    log_lines: list[LogRecord] = field(default_factory=list)
    is_up: bool = True
    instance: str = "one"
    acted: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    refusal: str = ""
    clients: list[TestClient] = field(default_factory=list)
    attempts: int = 0
    verbs: frozenset[str] | None = None
    answers: dict[str, Mapping[str, object]] = field(default_factory=dict)
    series: dict[tuple[str, str], list[tuple[float, float]]] = field(default_factory=dict)
    past: list[dict[str, object]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def emit(self, *events: ev.Event) -> None:
        """Fold events in and tell every watcher, as the composition root does."""
        touched: set[tuple[str, str]] = set()
        for event in events:
            touched |= self.state.apply(event)
        batch = Batch(counters=dict(self.state.counters))
        for name, view_id in touched:
            view = self.state.view(name, view_id)
            if view is None:
                batch.removed.setdefault(name, []).append(view_id)
            else:
                batch.changed.setdefault(name, []).append(copy.copy(view))
        self._send(batch)

    def log(self, *records: LogRecord) -> None:
        """Append log lines and tell every watcher."""
        self.log_lines += records
        self._send(Batch(logs=list(records)))

    def go_down(self) -> None:
        """Every connection ends, no new one is accepted."""
        self.is_up = False
        self._send(None)
        self.clients.clear()

    def _send(self, batch: Batch | None) -> None:
        for client in self.clients:
            client.queue.put_nowait(batch)

    async def connect(self, path: Path, *, role: str) -> TestClient:
        """What ``ControlClient.connect`` does."""
        self.attempts += 1
        if not self.is_up:
            raise EngineUnreachable("no engine answers on the control socket")
        client = TestClient(self, Hello(instance=self.instance, role=role))
        self.clients.append(client)
        return client


class TestClient:
    """One connection to it."""

    __test__ = False

    def __init__(self, engine: TestEngine, hello: Hello) -> None:
        self._engine = engine
        self.hello = hello
        self.queue: asyncio.Queue[Batch | None] = asyncio.Queue()

    async def snapshot(self) -> Snapshot:
        views: dict[str, dict[str, View]] = {
            name: {key: copy.copy(view) for key, view in rows.items()}
            for name, rows in self._engine.state.collections().items()
        }
        newest = self._engine.log_lines[-1].seq if self._engine.log_lines else 0
        return Snapshot(views=views, counters=dict(self._engine.state.counters), at=NOW, log_seq=newest)

    async def watch(self) -> AsyncGenerator[Batch, None]:
        while True:
            batch = await self.queue.get()
            if batch is None:
                raise EngineUnreachable("the engine closed the connection")
            yield batch

    async def act(
        self,
        verb: str,
        args: Mapping[str, object],
        *,
        key: str | None = None,
        on_progress: Callable[[str], None] | None = None,
    ) -> Mapping[str, object]:
        if self._engine.refusal:
            raise ControlRefused(self._engine.refusal, reason="refused")
        self._engine.acted.append((verb, dict(args)))
        if on_progress is not None:
            on_progress("working")
        return self._engine.answers.get(verb, {"message": "done"})

    async def actions(self) -> Mapping[str, str]:
        if self._engine.verbs is None:
            raise ControlRefused("this engine knows no verb 'actions'", reason="unknown_verb")
        return dict.fromkeys(self._engine.verbs, "")

    async def summary(self) -> Mapping[str, object]:
        raise ControlRefused("this engine knows no verb 'summary'", reason="unknown_verb")

    async def logs(self, after_seq: int = 0, limit: int = 500) -> list[LogRecord]:
        return [r for r in self._engine.log_lines if r.seq > after_seq][:limit]

    async def history(self, series: str, subject: str, since: float) -> list[tuple[float, float]]:
        self._engine.asked.append((series, subject))
        return [p for p in self._engine.series.get((series, subject), []) if p[0] >= since]

    async def events(self, subject: str, kinds: Sequence[str], limit: int = 100) -> list[dict[str, object]]:
        found = [r for r in self._engine.past if r["kind"] in kinds and (not subject or subject in r.values())]
        return found[:limit]

    async def close(self) -> None:
        if self in self._engine.clients:
            self._engine.clients.remove(self)
