"""The alerts service over a real store: raised, told, remembered over a restart, acknowledged, silenced."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine import events as ev
from engine.clock import ManualClock
from engine.config.common import AlertsConfig
from engine.control.actions import ActionTable
from engine.control.state import LiveState
from engine.errors import ControlRefused
from engine.events import Event, EventBus
from engine.observe.alerts import AlertService, stuck_keys_of
from engine.observe.alerts_actions import add_alert_actions
from engine.observe.alerts_facts import GB
from engine.observe.alerts_probe import HostProbe
from engine.observe.delivery import Delivery
from engine.store import Store, open_store
from engine.store.records import Grant

NODE = "n1"


@dataclass
class World:
    """One engine's alerts, without the engine."""

    clock: ManualClock
    store: Store
    bus: EventBus
    state: LiveState
    alerts: AlertService
    events: list[Event] = field(default_factory=list)

    def of(self, cls: type[Event]) -> list[Event]:
        return [event for event in self.events if type(event) is cls]

    def node(self, new: str) -> None:
        self.bus.emit(
            ev.NodeStateChanged(at=self.clock.now(), node_id=NODE, old="healthy", new=new, reason="connection refused")
        )

    async def later(self, seconds: float) -> None:
        await self.clock.advance(seconds)
        await self.alerts.look()

    def active(self) -> set[str]:
        return {view.rule for view in self.state.alerts.values() if view.active}


@asynccontextmanager
async def world(path: Path, clock: ManualClock, **config: object) -> AsyncIterator[World]:
    """A miner with one node, its alerts restored; entering it again is a restart."""
    store = await open_store(f"sqlite:{path / 'miner.db'}", clock=clock)
    try:
        bus, state = EventBus(), LiveState()
        alerts_config = AlertsConfig.model_validate({"host_disk_min_gb": 0.0} | config)
        delivery = Delivery(alerts_config, {"name": "rig", "role": "miner"}, clock=clock, emit=bus.emit)
        alerts = AlertService(
            state,
            store,
            delivery,
            HostProbe((path,)),
            config=alerts_config,
            clock=clock,
            emit=bus.emit,
            stuck_keys=stuck_keys_of(store),
        )
        made = World(clock, store, bus, state, alerts)
        bus.subscribe(lambda event: (state.apply(event), None)[1])
        bus.subscribe(made.events.append)
        bus.subscribe(alerts.listen)
        now = clock.now()
        bus.emit(ev.EngineStarted(at=now, role="miner", name="rig", build="1", hotkey="5M", network="local", netuid=39))
        bus.emit(ev.NodeAdded(at=now, node_id=NODE, label="gpu-1", host="h", port=22, username="u"))
        await alerts.restore()
        yield made
    finally:
        await store.close()


async def test_a_node_that_fails_for_an_hour(tmp_path: Path) -> None:
    """Nothing before the hour, an alert after it, its end with begin, end and duration."""
    async with world(tmp_path, ManualClock()) as it:
        it.node("unhealthy")
        await it.alerts.look()
        await it.later(3599)
        assert "node_failing" not in it.active()
        await it.later(1)
        assert "node_failing" in it.active()
        it.node("healthy")
        await it.later(60)
        assert "node_failing" not in it.active()
        (view,) = [v for v in it.state.alerts.values() if v.rule == "node_failing"]
        assert view.subject == NODE
        assert view.duration_s == 60
        assert "connection refused" in view.message
        assert view.impact
        assert view.hint
        (row,) = [r for r in await it.store.alerts.recent() if r.rule == "node_failing"]
        assert (row.began_at, row.ended_at) == (view.began_at, view.ended_at)


async def test_a_restart_neither_forgets_nor_repeats(tmp_path: Path) -> None:
    """An active alert stays one alert over a restart, past ones stay in the history, and waiting goes on."""
    clock = ManualClock()
    async with world(tmp_path, clock) as it:
        it.node("unhealthy")
        await it.alerts.look()
        await it.later(3000)
        assert "node_failing" not in it.active()
    async with world(tmp_path, clock) as it:
        await it.alerts.look()
        it.node("unhealthy")
        await it.later(600)
        (first,) = [v for v in it.state.alerts.values() if v.rule == "node_failing"]
    async with world(tmp_path, clock) as it:
        assert it.state.alerts[first.id].active
        await it.later(10)
        assert it.of(ev.AlertRaised) == []
        it.node("healthy")
        await it.later(10)
        assert not it.state.alerts[first.id].active
    async with world(tmp_path, clock) as it:
        past = it.state.alerts[first.id]
        assert (past.active, past.began_at, past.duration_s) == (False, first.began_at, 20)


async def test_a_key_that_stays_on_a_node(tmp_path: Path) -> None:
    """A grant that ended more than ten minutes ago and was never read back as gone is an alert; gone, it is over."""
    clock = ManualClock()
    async with world(tmp_path, clock) as it:
        now = clock.now()
        grant = Grant("g1", NODE, "5V", "ssh-ed25519", "AAAA", "SHA256:k", now, now, now + 60)
        await it.store.grants.put_many([grant])
        await it.later(60 + 600)
        assert "key_stuck" not in it.active()
        await it.later(1)
        assert "key_stuck" in it.active()
        await it.store.grants.mark_removed(["g1"], clock.now())
        await it.later(1)
        assert "key_stuck" not in it.active()


async def test_validator_key_change_until_acknowledged(tmp_path: Path) -> None:
    """Another key of a validator is an alert that a person ends by acknowledging it, also after a restart."""
    clock = ManualClock()
    async with world(tmp_path, clock) as it:
        it.bus.emit(
            ev.ValidatorKeyChanged(at=clock.now(), validator_hotkey="5V", old_fingerprint="a", new_fingerprint="b")
        )
        await it.alerts.look()
        assert "validator_key_changed" in it.active()
    async with world(tmp_path, clock) as it:
        await it.later(60)
        assert "validator_key_changed" in it.active()
        (alert_id,) = [v.id for v in it.state.alerts.values() if v.rule == "validator_key_changed"]
        actions = ActionTable(clock=clock, emit=it.bus.emit)
        add_alert_actions(actions, it.alerts)
        await actions.run("alert.acknowledge", {"alert_id": alert_id}, role="operator", actor="me")
        await it.later(1)
        assert "validator_key_changed" not in it.active()
        assert it.state.alerts[alert_id].acknowledged
        await it.later(1)
        assert "validator_key_changed" not in it.active(), "what a person knows is not told again"
    async with world(tmp_path, clock) as it:
        await it.later(60)
        assert "validator_key_changed" not in it.active()
        it.bus.emit(
            ev.ValidatorKeyChanged(at=clock.now(), validator_hotkey="5V", old_fingerprint="b", new_fingerprint="c")
        )
        await it.later(1)
        assert "validator_key_changed" in it.active(), "the next change is news"


async def test_a_host_that_cannot_be_judged_ends_no_other_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw while looking at this host is said once a minute, and soon an alert; nodes are watched on."""

    def fail(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(HostProbe, "look", fail)
    async with world(tmp_path, ManualClock(), node_failing_after=0.0) as it:
        it.node("unhealthy")
        for _ in range(3):
            await it.later(60)
            await it.later(1)
        crashes = [e for e in it.of(ev.ServiceCrashed) if isinstance(e, ev.ServiceCrashed)]
        assert [(e.service, "this host" in e.error) for e in crashes] == [("alerts", True)] * 3
        await it.later(1)
        assert {"node_failing", "service_restarting"} <= it.active()


async def test_a_signed_key_change_is_no_alert(tmp_path: Path) -> None:
    """In dialect B the hotkey signs for each session's key, so a change is on record and troubles nobody."""
    clock = ManualClock()
    async with world(tmp_path, clock) as it:
        changed = ev.ValidatorKeyChanged(
            at=clock.now(), validator_hotkey="5V", old_fingerprint="a", new_fingerprint="b", is_signed=True
        )
        it.bus.emit(changed)
        await it.alerts.look()
        assert "validator_key_changed" not in it.active()
        assert it.state.sessions["5V"].key_fingerprint == "b"


async def test_low_disk_on_this_host(tmp_path: Path) -> None:
    """The file system of the databases is looked at for real."""
    async with world(tmp_path, ManualClock(), host_disk_min_gb=10_000_000.0) as it:
        await it.alerts.look()
        assert "host_disk" in it.active()
        (view,) = [v for v in it.state.alerts.values() if v.rule == "host_disk"]
        assert str(tmp_path) in view.message


async def test_a_service_that_crashes_again_and_again(tmp_path: Path) -> None:
    """Three crashes within ten minutes are an alert, over once they are past."""
    async with world(tmp_path, ManualClock()) as it:
        for _ in range(3):
            it.bus.emit(ev.ServiceCrashed(at=it.clock.now(), service="door", error="boom", retry_in_s=1.0))
        await it.alerts.look()
        assert "service_restarting" in it.active()
        await it.later(601)
        assert "service_restarting" not in it.active()


async def test_a_drained_node_is_told_of_when_it_is_back(tmp_path: Path) -> None:
    """Drained: raised, shown as drained, told to nobody, over a restart too; enabled while still wrong: told then."""
    out, hook = tmp_path / "told", tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ncat >> {out}\n")
    hook.chmod(0o755)
    clock = ManualClock()
    settings = {"command": [str(hook)], "group_delay": 0.0, "node_failing_after": 0.0}

    def drain(it: World) -> None:
        it.bus.emit(ev.NodeDrained(at=clock.now(), node_id=NODE, since=clock.now()))

    async def told(it: World, count: int) -> list[str]:
        async with asyncio.timeout(60):
            while len(it.of(ev.AlertDelivered)) < count:
                await asyncio.sleep(0.01)
        messages = [json.loads(line) for line in out.read_text().splitlines()]
        return [f"{alert['rule']} {alert['state']}" for message in messages for alert in message["alerts"]]

    def muted(it: World) -> dict[str, str]:
        return {view.rule: view.muted for view in it.state.alerts.values() if view.active}

    async with world(tmp_path, clock, **settings) as it:
        drain(it)
        it.node("unhealthy")
        await it.later(1)
        assert muted(it) == {"node_failing": "drain"}
    async with world(tmp_path, clock, **settings) as it:
        telling = asyncio.create_task(it.alerts.delivery.run())
        drain(it)
        it.node("unhealthy")
        await it.later(1)
        it.bus.emit(ev.DriftSeen(at=clock.now(), node_id=NODE, count=1, lines=("ssh-ed25519 x",)))
        await it.later(1)
        assert muted(it) == {"node_failing": "drain", "key_drift": ""}
        assert await told(it, 1) == ["key_drift raised"], "who may enter a node is told at any time"
        it.bus.emit(ev.NodeEnabled(at=clock.now(), node_id=NODE))
        await it.later(1)
        assert muted(it) == {"node_failing": "", "key_drift": ""}
        assert (await told(it, 2))[1:] == ["node_failing raised"]
        drain(it)
        it.node("healthy")
        await it.later(1)
        assert (await told(it, 3))[2:] == ["node_failing cleared"], "who was told of it hears of its end"
        telling.cancel()


async def test_silenced_alerts_are_shown_and_not_told(tmp_path: Path) -> None:
    """A silenced rule is raised in the console and nobody hears of it, also after a restart; others are told."""
    out, hook = tmp_path / "told", tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ncat >> {out}\n")
    hook.chmod(0o755)
    clock = ManualClock()
    settings = {"command": [str(hook)], "group_delay": 0.0, "node_failing_after": 0.0}
    async with world(tmp_path, clock, **settings) as it:
        actions = ActionTable(clock=clock, emit=it.bus.emit)
        add_alert_actions(actions, it.alerts)
        args = {"rule": "node_failing", "subject": NODE, "seconds": 600}
        result = await actions.run("alert.silence", args, role="operator", actor="me")
        assert result["until"] == clock.now() + 600
    async with world(tmp_path, clock, **settings) as it:
        telling = asyncio.create_task(it.alerts.delivery.run())
        it.node("unhealthy")
        await it.later(1)
        assert "node_failing" in it.active()
        for _ in range(3):
            it.bus.emit(ev.ServiceCrashed(at=clock.now(), service="door", error="boom", retry_in_s=1.0))
        await it.later(1)
        async with asyncio.timeout(60):
            while not it.of(ev.AlertDelivered):
                await asyncio.sleep(0.01)
        telling.cancel()
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert [[alert["rule"] for alert in message["alerts"]] for message in told] == [["service_restarting"]]


REFUSED: tuple[tuple[str, dict[str, object], str], ...] = (
    ("alert.acknowledge", {}, "unknown_alert"),
    ("alert.acknowledge", {"alert_id": "x"}, "unknown_alert"),
    ("alert.acknowledge", {"alert_id": 3}, "unknown_alert"),
    ("alert.silence", {}, "unknown_rule"),
    ("alert.silence", {"rule": "nonsense"}, "unknown_rule"),
    ("alert.silence", {"alert_id": "x"}, "unknown_alert"),
    ("alert.silence", {"rule": "wallet", "seconds": -1}, "bad_argument"),
    ("alert.silence", {"rule": "wallet", "seconds": "1h"}, "bad_argument"),
    ("alert.silence", {"rule": "wallet", "seconds": float("nan")}, "bad_argument"),
    ("alert.test", {}, "no_targets"),
)


async def test_refused_actions(tmp_path: Path) -> None:
    """What an operator mistyped is refused with a reason."""
    async with world(tmp_path, ManualClock()) as it:
        actions = ActionTable(clock=it.clock, emit=it.bus.emit)
        add_alert_actions(actions, it.alerts)
        for verb, args, reason in REFUSED:
            with pytest.raises(ControlRefused) as refused:
                await actions.run(verb, args, role="operator", actor="me")
            assert refused.value.reason == reason, (verb, args)


def test_a_hotkey_file_that_changes(tmp_path: Path) -> None:
    """A hotkey file that is opened to others, replaced or removed under the engine is trouble."""
    path = tmp_path / "hotkey"
    path.write_text("{}")
    path.chmod(0o600)
    probe = HostProbe((tmp_path,), path)
    assert probe.look().wallet_problem == ""
    assert (probe.look().disk_free_bytes or 0) > 0
    path.chmod(0o644)
    assert "open to other users (mode 0644)" in probe.look().wallet_problem
    path.chmod(0o600)
    assert probe.look().wallet_problem == ""
    other = tmp_path / "other"
    other.write_text('{"another": 1}')
    other.chmod(0o600)
    other.rename(path)
    assert "was replaced" in probe.look().wallet_problem
    path.unlink()
    assert "cannot be reached" in probe.look().wallet_problem


def test_a_certificate_is_read(tmp_path: Path) -> None:
    """A certificate's end is found; what is none, or missing, is said."""
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "miner")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=10))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "cert.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    probe = HostProbe((tmp_path,), certificate=path, certificate_key=tmp_path / "key.pem")
    assert "cannot be read" in probe.look().certificate_problem
    (tmp_path / "key.pem").write_text("x")
    left = probe.look().certificate_ends_in_s
    assert left is not None
    assert 9.9 < left / 86_400 < 10.1
    path.write_text("nonsense")
    assert "not a PEM certificate" in probe.look().certificate_problem
    path.unlink()
    assert "cannot be read" in probe.look().certificate_problem


def test_gigabytes_are_decimal() -> None:
    """As disks are sold and as validators count."""
    assert GB == 10**9
