"""Metrics: every documented name is there, promtool has nothing to say, and the numbers are those of the events."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine import events as ev
from engine.clock import ManualClock
from engine.control.state import LiveState
from engine.events import Event, EventBus
from engine.observe.metrics import MAX_VALIDATORS, MinerMetrics, ValidatorMetrics
from engine.observe.metrics_process import CpuMeter, resident_bytes
from engine.store import open_store

DESCRIBED = """
uptime_seconds memory_usage_bytes cpu_usage_percent nodes_total nodes_healthy nodes_unhealthy
node_health_checks_total node_health_check_duration_seconds_count validator_requests_total
validator_auth_failures_total validator_sessions_active validator_session_duration_seconds_count
validator_node_discoveries_total ssh_sessions_created_total ssh_sessions_closed_total ssh_sessions_active
ssh_session_duration_seconds_count ssh_key_deployments_total ssh_failures_total deployment_attempts_total
deployment_failures_total deployment_duration_seconds_count remote_nodes_deployed database_operations_total
database_errors_total database_query_duration_seconds_count database_connections_active
bittensor_registrations_total bittensor_errors_total bittensor_uid bittensor_stake axon_requests_total
"""
"""What the deployed miner describes, each with basilica_miner_ in front."""
DOCUMENTED = """
basilica_miner_node_count basilica_miner_validator_connections_total basilica_miner_ssh_deployments_total
basilica_miner_authentication_requests_total basilica_miner_authentication_success_total
basilica_miner_authentication_failures_total basilica_nodes_registered_total basilica_validator_sessions_active
basilica_ssh_key_deployments_total basilica_gpu_utilization basilica_node_uptime_seconds
"""
NAMES = [f"basilica_miner_{name}" for name in DESCRIBED.split()] + DOCUMENTED.split()
V, NODE = "5V", "n1"


def deployed(grant: str, *, at: float, renewed: bool = False) -> Event:
    return ev.KeyDeployed(
        at=at, grant_id=grant, node_id=NODE, validator_hotkey=V, expires_at=at, expiry_form="utc", renewed=renewed
    )


def refused(call: str = "AuthenticateValidator", hotkey: str = V) -> Event:
    return ev.CallRefused(
        at=1.0, call=call, validator_hotkey=hotkey, dialect="A", peer="p", status="X", reason="Invalid signature"
    )


def authenticated(hotkey: str = V) -> Event:
    return ev.ValidatorAuthenticated(
        at=1.0, validator_hotkey=hotkey, uid=1, stake_tao=1.0, dialect="A", peer="p", expires_at=2.0
    )


def a_day(now: float) -> Iterator[Event]:
    """A little of everything that a miner sees."""
    yield ev.EngineStarted(at=now - 100, role="miner", name="r", build="1", hotkey="5M", network="local", netuid=39)
    yield ev.NodeAdded(at=now, node_id=NODE, label="gpu-1", host="h", port=22, username="u")
    yield ev.MetagraphRead(at=now, netuid=39, block=1, neurons=2, validators=1, own_uid=7, own_stake_tao=3.5)
    yield ev.NodeDrained(at=now, node_id=NODE, since=now)
    yield ev.NodeStateChanged(at=now - 60, node_id=NODE, old="unknown", new="healthy", reason="")
    yield ev.NodeChecked(at=now, node_id=NODE, ok=False, latency_ms=20.0, error_code="ssh_timeout")
    yield ev.NodeChecked(at=now, node_id=NODE, ok=False, latency_ms=20.0, error_code="probe_failed")
    yield ev.NodeChecked(at=now, node_id=NODE, ok=True, latency_ms=20.0, utilisation_percent=40.0, gpu_count=1)
    yield authenticated()
    yield refused()
    yield refused("DiscoverNodes")
    yield deployed("g1", at=now - 50)
    yield deployed("g1", at=now - 40, renewed=True)
    yield ev.DiscoveryAnswered(
        at=now - 50, validator_hotkey=V, dialect="A", peer="p", assigned=True, nodes_ready=1, nodes_failed=0,
        duration_ms=300.0, key_fingerprint="SHA256:k",
    )  # fmt: skip
    yield ev.KeyFailed(at=now, node_id=NODE, operation="reconcile", error_code="ssh_refused", message="m", hint="")
    yield ev.KeyRemoved(at=now - 10, grant_id="g1", node_id=NODE, validator_hotkey=V, reason="expired")
    yield ev.SessionEnded(at=now, validator_hotkey=V, reason="expired")
    yield deployed("g2", at=now)
    yield ev.AxonServed(at=now, endpoint="1.2.3.4:5")
    yield ev.ChainFailed(at=now, operation="metagraph", error="x", metagraph_age_s=None)
    yield ev.AlertRaised(at=now, alert_id="a", level="error", subject="", message="m", hint="h", rule="wallet")
    yield ev.AlertRaised(at=now, alert_id="b", level="error", subject=NODE, message="m", hint="h", rule="node_failing")
    yield ev.AlertMuted(at=now, alert_id="b", by="drain")
    yield ev.AuditAnchored(at=now, seq=12, head="0" * 64, records=12, bytes=3456)


@pytest.fixture(scope="module")
def exposition(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a scrape sees after such a day, with a real store behind it."""
    path = tmp_path_factory.mktemp("m") / "m.db"

    async def make() -> str:
        clock = ManualClock()
        store = await open_store(f"sqlite:{path}", clock=clock)
        try:
            state, bus = LiveState(), EventBus()
            metrics = MinerMetrics(state, clock, store)
            bus.subscribe(lambda event: (state.apply(event), None)[1])
            bus.subscribe(metrics.listen)
            for event in a_day(clock.now()):
                bus.emit(event)
            await store.keyvalue.put("k", 1)
            await store.keyvalue.get("k")
            return metrics.render().decode()
        finally:
            await store.close()

    return asyncio.run(make())


def value(text: str, name: str, **labels: str) -> float:
    found = [
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    ]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def test_every_documented_name_is_there(exposition: str) -> None:
    """Both lists of names that dashboards may use have a value."""
    samples = {sample.name for family in text_string_to_metric_families(exposition) for sample in family.samples}
    missing = set(NAMES) - samples - {"basilica_miner_database_errors_total"}
    assert missing == set()
    assert "# TYPE basilica_miner_database_errors_total counter" in exposition


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("basilica_miner_uptime_seconds", {}, 100),
        ("basilica_miner_nodes_total", {}, 1),
        ("basilica_miner_node_count", {}, 1),
        ("basilica_miner_nodes_healthy", {}, 1),
        ("basilica_miner_nodes_unhealthy", {}, 0),
        ("basilica_miner_node_health_checks_total", {"node_id": NODE, "result": "passed"}, 1),
        ("basilica_miner_node_health_checks_total", {"node_id": NODE, "result": "failed"}, 2),
        ("basilica_miner_node_health_check_duration_seconds_sum", {}, 0.06),
        ("basilica_miner_validator_requests_total", {"validator": V}, 2),
        ("basilica_miner_validator_requests_total", {"validator": "unverified"}, 2),
        ("basilica_miner_axon_requests_total", {}, 4),
        ("basilica_miner_validator_connections_total", {}, 2),
        ("basilica_miner_authentication_requests_total", {}, 2),
        ("basilica_miner_authentication_success_total", {}, 1),
        ("basilica_miner_authentication_failures_total", {}, 1),
        ("basilica_miner_validator_auth_failures_total", {}, 1),
        ("basilica_miner_validator_node_discoveries_total", {"validator": V}, 1),
        ("basilica_miner_validator_session_duration_seconds_sum", {}, 50),
        ("basilica_miner_deployment_duration_seconds_sum", {}, 0.3),
        ("basilica_miner_ssh_key_deployments_total", {}, 2),
        ("basilica_miner_ssh_deployments_total", {}, 2),
        ("basilica_ssh_key_deployments_total", {}, 2),
        ("basilica_miner_ssh_key_renewals_total", {}, 1),
        ("basilica_miner_ssh_key_removals_total", {}, 1),
        ("basilica_miner_ssh_sessions_created_total", {}, 2),
        ("basilica_miner_ssh_sessions_closed_total", {}, 1),
        ("basilica_miner_ssh_sessions_active", {}, 1),
        ("basilica_miner_ssh_session_duration_seconds_sum", {}, 40),
        ("basilica_miner_ssh_failures_total", {"node_id": NODE}, 2),
        ("basilica_miner_deployment_attempts_total", {}, 5),
        ("basilica_miner_deployment_failures_total", {}, 1),
        ("basilica_miner_remote_nodes_deployed", {}, 1),
        ("basilica_miner_database_operations_total", {"operation": "read"}, 1),
        ("basilica_miner_database_operations_total", {"operation": "write"}, 1),
        ("basilica_miner_database_query_duration_seconds_count", {}, 2),
        ("basilica_miner_database_connections_active", {}, 0),
        ("basilica_miner_bittensor_registrations_total", {}, 1),
        ("basilica_miner_bittensor_errors_total", {"operation": "metagraph"}, 1),
        ("basilica_miner_bittensor_uid", {}, 7),
        ("basilica_miner_bittensor_stake", {}, 3.5),
        ("basilica_nodes_registered_total", {}, 1),
        ("basilica_validator_sessions_active", {}, 0),
        ("basilica_gpu_utilization", {"node_id": NODE}, 40),
        ("basilica_node_uptime_seconds", {"node_id": NODE}, 60),
        ("basilica_alerts_active", {"level": "error"}, 1),
        ("basilica_alerts_muted", {"level": "error"}, 1),
        ("basilica_miner_nodes_drained", {}, 1),
        ("basilica_miner_node_drained", {"node_id": NODE}, 1),
        ("basilica_alerts_raised_total", {"rule": "wallet"}, 1),
        ("basilica_audit_records", {}, 12),
        ("basilica_audit_bytes", {}, 3456),
    ],
)
def test_numbers_are_those_of_the_events(exposition: str, name: str, labels: dict[str, str], expected: float) -> None:
    """Each metric counts what its help text says, no more and no less."""
    assert value(exposition, name, **labels) == pytest.approx(expected)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (apt install prometheus)")
@pytest.mark.parametrize("role", ["miner", "validator"])
def test_promtool_has_nothing_to_say(role: str, exposition: str) -> None:
    """Names, types and help texts pass Prometheus' own linter."""
    text = exposition if role == "miner" else ValidatorMetrics(LiveState()).render().decode()
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_the_document_names_every_metric(exposition: str) -> None:
    """docs/metrics.md has each name of a scrape, in full or as the rest of the name before it."""
    document = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    named = set(re.findall(r"`([a-z_]+)`", document))
    for word in list(named):
        named.add(f"basilica_miner{word}" if word.startswith("_") else word)
    families = [family.name for family in text_string_to_metric_families(exposition)]
    missing = [name for name in families if not name.startswith("process_") and not {name, f"{name}_total"} & named]
    assert families and missing == []


def test_what_a_node_showed_is_there_and_what_it_did_not_is_absent() -> None:
    """A fact that nobody measured is no zero."""
    state = LiveState()
    for event in a_day(1000.0):
        state.apply(event)
    metrics = MinerMetrics(state, ManualClock(1000.0))
    before = metrics.render().decode()
    assert "basilica_miner_node_docker_ok{" not in before and "basilica_miner_node_expiry_proved{" not in before
    view = state.nodes[NODE]
    view.docker_ok, view.expiry_enforced, view.drift, view.latency_ms = True, "removal only", 2, 250.0
    view.shared_gpus, view.key_error = ("GPU-1",), "no space left"
    after = metrics.render().decode()
    for name, expected in (
        ("docker_ok", 1.0), ("expiry_proved", 0.0), ("unexplained_keys", 2.0), ("latency_seconds", 0.25),
        ("shared_gpus", 1.0), ("keys_failing", 1.0),
    ):  # fmt: skip
        assert value(after, f"basilica_miner_node_{name}", node_id=NODE) == expected


def test_strangers_cannot_multiply_series() -> None:
    """Thousands of claimed and hundreds of proven hotkeys make a bounded number of series."""
    metrics = MinerMetrics(LiveState(), ManualClock())
    for number in range(3000):
        metrics.listen(refused(hotkey=f"5X{number}"))
    for number in range(300):
        metrics.listen(authenticated(f"5V{number}"))
    text = metrics.render().decode()
    assert len(re.findall(r"^basilica_miner_validator_requests_total\{", text, re.MULTILINE)) == MAX_VALIDATORS + 2
    assert value(text, "basilica_miner_validator_requests_total", validator="others") == 300 - MAX_VALIDATORS


def test_a_node_that_left_has_no_series() -> None:
    """Series of a removed node go with it."""
    state, metrics = LiveState(), MinerMetrics(LiveState(), ManualClock())
    for event in a_day(1000.0):
        state.apply(event)
        metrics.listen(event)
    metrics.listen(ev.NodeRemoved(at=1.0, node_id=NODE))
    assert "node_id" not in metrics.render().decode()


def test_access_of_an_earlier_run_has_no_invented_duration() -> None:
    """A key that an earlier run deployed is counted when it goes, without a duration nobody knows."""
    metrics = MinerMetrics(LiveState(), ManualClock())
    metrics.listen(
        ev.GrantRestored(at=1.0, grant_id="g", node_id=NODE, validator_hotkey=V, expires_at=9.0, is_in_place=True)
    )
    metrics.listen(ev.KeyRemoved(at=5.0, grant_id="g", node_id=NODE, validator_hotkey=V, reason="expired"))
    metrics.listen(ev.KeyRemoved(at=5.0, grant_id="never", node_id=NODE, validator_hotkey=V, reason="expired"))
    text = metrics.render().decode()
    assert value(text, "basilica_miner_ssh_sessions_closed_total") == 1
    assert value(text, "basilica_miner_ssh_session_duration_seconds_count") == 0


def test_the_processor_is_measured_between_scrapes() -> None:
    """Half a core for ten seconds is 50 percent; a second scraper within the second gets the same number."""
    cpu, now = [100.0], [0.0]
    meter = CpuMeter(lambda: cpu[0], lambda: now[0])
    cpu[0], now[0] = 105.0, 10.0
    assert meter.percent() == 50.0
    cpu[0], now[0] = 106.0, 10.5
    assert meter.percent() == 50.0
    now[0] = 12.0
    assert meter.percent() == 50.0
    now[0] = 20.0
    assert meter.percent() == 0.0


def test_memory_is_this_process_s() -> None:
    """Not the host's: a program with an interpreter and libraries, and no more."""
    resident = resident_bytes()
    assert resident is not None
    assert 10_000_000 < resident < 4_000_000_000


def finished(number: int, *, code: str = "", login_ms: float | None = None) -> ev.NodeVerified:
    return ev.NodeVerified(
        at=float(number), verification_id=str(number), ok=not code, duration_ms=5.0, error_code=code, login_ms=login_ms,
        gpu_model="H100", miner_hotkey="5M", miner_uid=7, node_id=NODE, endpoint="e", tier="lightweight",
    )  # fmt: skip


def test_what_a_validator_counts() -> None:
    """Logins, SSH failures, miners that did not answer, bans and rentals, each from what happened."""
    state = LiveState()
    metrics = ValidatorMetrics(state)
    seen: list[ev.Event] = [
        finished(1, login_ms=250.0),
        finished(2, code="ssh_timeout"),
        finished(3, code="probe_failed", login_ms=50.0),
        ev.MinerFailed(at=4.0, hotkey="5N", uid=8, stage="discovery", error_code="miner_unreachable", message="no"),
        ev.NodeMisbehaved(
            at=5.0, miner_hotkey="5M", node_id=NODE, reason="malicious_result", details="x", banned_until=99.0
        ),
        ev.RentalRestored(at=6.0, rental_id="r0", miner_hotkey="5M", node_id=NODE),
        ev.RentalBegan(at=7.0, rental_id="r1", miner_hotkey="5M", node_id=NODE),
    ]
    for event in seen:
        state.apply(event)
        metrics.listen(event)
    text = metrics.render().decode()
    expected: tuple[tuple[str, dict[str, str], float], ...] = (
        ("ssh_connections_total", {}, 2),
        ("ssh_failures_total", {}, 1),
        ("ssh_connection_duration_seconds_sum", {}, 0.3),
        ("rentals_created_total", {}, 1),
        ("rpc_critical_failures_total", {"method": "discovery", "error_type": "miner_unreachable"}, 1),
        ("node_rental_status", {"node_id": NODE, "miner_uid": "7", "gpu_type": "H100"}, 1),
    )
    for name, labels, wanted in expected:
        assert value(text, f"basilica_validator_{name}", **labels) == pytest.approx(wanted), name
    assert value(text, "validator_node_ban_till", node_id=NODE, miner_uid="7") == 99.0


def test_the_document_names_every_metric_of_a_validator() -> None:
    """docs/metrics.md has each name of a validator's scrape as well."""
    document = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    named = set(re.findall(r"`([a-z_]+)`", document))
    named |= {f"basilica_validator{word}" for word in named if word.startswith("_")}
    families = [
        family.name for family in text_string_to_metric_families(ValidatorMetrics(LiveState()).render().decode())
    ]
    missing = [name for name in families if not name.startswith(("process_", "basilica_alerts", "basilica_recording"))
               and not {name, f"{name}_total"} & named]  # fmt: skip
    assert families and missing == []
