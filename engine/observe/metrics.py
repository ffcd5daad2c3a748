"""Prometheus metrics, counted from events and read from the live state; every number here is true.

Names are those that the deployed miner describes and those that its documents use (both lists), so that
dashboards written for either keep working. Node gauges carry ``node_id``.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from engine.clock import Clock
from engine.control.state import LiveState
from engine.events import (
    CallRefused,
    DiscoveryAnswered,
    Event,
    KeyDeployed,
    KeyFailed,
    KeyRemoved,
    NodeChecked,
    NodeVerified,
    ValidatorAuthenticated,
)


class MinerMetrics:
    """Counters of the miner role. ``listen`` is subscribed to the event bus."""

    def __init__(self, state: LiveState, clock: Clock) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_MinerGauges(state, clock))
        self._requests = _counter(self.registry, "basilica_miner_validator_requests", "Calls by validators")
        self._auth_failures = _counter(
            self.registry, "basilica_miner_validator_auth_failures", "Authentications that were refused"
        )
        self._auth_requests = _counter(
            self.registry, "basilica_miner_authentication_requests", "Authentications that were asked for"
        )
        self._auth_success = _counter(
            self.registry, "basilica_miner_authentication_success", "Authentications that were accepted"
        )
        self._discoveries = _counter(
            self.registry, "basilica_miner_validator_node_discoveries", "Discoveries that were answered"
        )
        self._deployments = _counter(
            self.registry, "basilica_miner_ssh_key_deployments", "Keys that were read back from a node"
        )
        self._removals = _counter(self.registry, "basilica_miner_ssh_key_removals", "Keys that are gone from a node")
        self._key_failures = _counter(
            self.registry, "basilica_miner_deployment_failures", "Key changes on a node that failed"
        )
        self._ssh_failures = _counter(
            self.registry, "basilica_miner_ssh_failures", "Health checks that failed over SSH"
        )
        self._checks = _counter(self.registry, "basilica_miner_node_health_checks", "Health checks of nodes")
        self._check_seconds = Histogram(
            "basilica_miner_node_health_check_duration_seconds", "Time of a health check", registry=self.registry
        )
        self._discovery_seconds = Histogram(
            "basilica_miner_deployment_duration_seconds",
            "Time from a discovery call to its answer",
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60),
            registry=self.registry,
        )

    def listen(self, event: Event) -> None:
        """Count one event."""
        match event:
            case ValidatorAuthenticated():
                self._requests.inc()
                self._auth_requests.inc()
                self._auth_success.inc()
            case CallRefused(call="AuthenticateValidator"):
                self._requests.inc()
                self._auth_requests.inc()
                self._auth_failures.inc()
            case CallRefused():
                self._requests.inc()
            case DiscoveryAnswered():
                self._requests.inc()
                self._discoveries.inc()
                self._discovery_seconds.observe(event.duration_ms / 1000)
            case KeyDeployed():
                self._deployments.inc()
            case KeyRemoved():
                self._removals.inc()
            case KeyFailed():
                self._key_failures.inc()
            case NodeChecked():
                self._checks.inc()
                self._check_seconds.observe(event.latency_ms / 1000)
                if not event.ok:
                    self._ssh_failures.inc()
            case _:
                pass

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)


class ValidatorMetrics:
    """Counters of the validator role."""

    def __init__(self, state: LiveState) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_ValidatorGauges(state))
        self._validations = _counter(self.registry, "basilica_validator_validations", "Verifications of nodes")
        self._errors = _counter(self.registry, "basilica_validator_validation_errors", "Verifications that failed")
        self._seconds = Histogram(
            "basilica_validator_validation_duration_seconds", "Time of a verification", registry=self.registry
        )

    def listen(self, event: Event) -> None:
        """Count one event."""
        if isinstance(event, NodeVerified):
            self._validations.inc()
            self._seconds.observe(event.duration_ms / 1000)
            if not event.ok:
                self._errors.inc()

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)


class _MinerGauges(Collector):
    def __init__(self, state: LiveState, clock: Clock) -> None:
        self._state = state
        self._clock = clock

    def collect(self) -> Iterator[GaugeMetricFamily]:
        nodes = list(self._state.nodes.values())
        engine = self._state.engine
        healthy = sum(1 for n in nodes if n.state == "healthy")
        active = sum(1 for s in self._state.sessions.values() if s.state == "active")
        yield _gauge("basilica_miner_nodes_total", "Configured nodes", len(nodes))
        yield _gauge("basilica_miner_node_count", "Configured nodes", len(nodes))
        yield _gauge("basilica_miner_nodes_healthy", "Nodes whose checks pass", healthy)
        yield _gauge("basilica_miner_nodes_unhealthy", "Nodes whose checks fail", len(nodes) - healthy)
        yield _gauge("basilica_miner_validator_sessions_active", "Validators with access", active)
        if engine.started_at is not None:
            uptime_s = max(0.0, self._clock.now() - engine.started_at)
            yield _gauge("basilica_miner_uptime_seconds", "Time since the engine started", uptime_s)
        if engine.uid is not None:
            yield _gauge("basilica_miner_bittensor_uid", "Own uid on the subnet", engine.uid)
        up = GaugeMetricFamily("basilica_miner_node_up", "1 when the node's last check passed", labels=["node_id"])
        keys = GaugeMetricFamily("basilica_miner_node_keys", "Keys of validators on the node", labels=["node_id"])
        for node in nodes:
            up.add_metric([node.id], 1.0 if node.state == "healthy" else 0.0)
            keys.add_metric([node.id], float(node.keys_in_place))
        yield up
        yield keys


class _ValidatorGauges(Collector):
    def __init__(self, state: LiveState) -> None:
        self._state = state

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield _gauge(
            "basilica_validator_discovered_miners_total", "Miners on chain that can be called", len(self._state.miners)
        )
        status = GaugeMetricFamily(
            "basilica_validator_node_health_status", "1 when the last verification passed", labels=["node_id"]
        )
        for verification in self._state.verifications.values():
            status.add_metric([verification.id], 1.0 if verification.state == "passed" else 0.0)
        yield status


def _counter(registry: CollectorRegistry, name: str, text: str) -> Counter:
    return Counter(name, text, registry=registry)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
