"""Prometheus metrics, counted from events and read from the live state; every number here is true.

Names are those that the deployed miner describes and those that its documents use (both lists), so that
dashboards written for either keep working; docs/metrics.md says what each one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from engine import events as ev
from engine.clock import Clock
from engine.control.models import place_id
from engine.control.state import LiveState
from engine.events import Event
from engine.observe.metrics_gauges import MinerGauges, ValidatorGauges
from engine.store import Store

MAX_VALIDATORS = 64
"""Hotkeys that get a series of their own; all others share one."""
UNVERIFIED = "unverified"
OTHERS = "others"
DISCOVERY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60)
ACCESS_BUCKETS = (60, 300, 900, 1800, 3600, 7200, 21600, 86400, 604800)
QUERY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)

disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the number of series, to say when this process began


class Names:
    """Several counters that always say the same, under the names of different documents."""

    def __init__(self, registry: CollectorRegistry, names: Iterable[str], text: str) -> None:
        self._counters = [_counter(registry, name, text) for name in names]

    def inc(self) -> None:
        """One more."""
        for counter in self._counters:
            counter.inc()


class MinerMetrics:
    """The miner role. ``listen`` is subscribed to the event bus after the live state."""

    def __init__(self, state: LiveState, clock: Clock, store: Store | None = None) -> None:
        self.registry = registry = CollectorRegistry()
        self._healthy_since: dict[str, float] = {}
        self._in_place: dict[str, float | None] = {}
        """When each key came to its node; None where an earlier run put it there."""
        self._session_began: dict[str, float] = {}
        self._validators: set[str] = set()
        registry.register(
            MinerGauges(
                state,
                clock,
                healthy_since=self._healthy_since,
                connections=lambda: 0 if store is None else store.connections_active,
            )
        )
        ProcessCollector(registry=registry)
        self._add_door(registry)
        self._add_keys(registry)
        self._add_rest(registry)
        self._hearers = self._hear()
        if store is not None:
            store.observe(self._database)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)

    def listen(self, event: Event) -> None:
        """Count one event."""
        hear = self._hearers.get(type(event))
        if hear is not None:
            hear(event)

    def _hear(self) -> Mapping[type[Event], Callable[[Any], None]]:
        # By type and not by match: the door says one event for every call, and most kinds are none of these.
        return {
            ev.ValidatorAuthenticated: self._authenticated,
            ev.CallRefused: self._refused,
            ev.DiscoveryAnswered: self._discovered,
            ev.SessionEnded: self._session_ended,
            **dict.fromkeys(
                (ev.KeyDeployed, ev.KeyRemoved, ev.KeyFailed, ev.GrantRestored, ev.CertificateIssued), self._key
            ),
            **dict.fromkeys((ev.NodeChecked, ev.NodeStateChanged, ev.NodeAdded, ev.NodeRemoved), self._node),
            ev.AxonServed: lambda _: self._registrations.inc(),
            ev.ChainFailed: lambda event: self._chain_errors.labels(event.operation).inc(),
            ev.AlertRaised: lambda event: self._alerts.labels(event.rule).inc(),
        }

    def _authenticated(self, event: ev.ValidatorAuthenticated) -> None:
        self._call(self._validator(event.validator_hotkey))
        self._auth_asked.inc()
        self._auth_ok.inc()

    def _refused(self, event: ev.CallRefused) -> None:
        # Whose call it was is a claim that failed, so it gets no series of its own.
        self._call(UNVERIFIED)
        if event.call == "AuthenticateValidator":
            self._auth_asked.inc()
            self._auth_failed.inc()

    def _session_ended(self, event: ev.SessionEnded) -> None:
        began_at = self._session_began.pop(event.validator_hotkey, None)
        if began_at is not None:
            self._session_seconds.observe(max(0.0, event.at - began_at))

    def _add_door(self, registry: CollectorRegistry) -> None:
        self._requests = _counter(
            registry, "basilica_miner_validator_requests", "Calls of validators that were answered", ["validator"]
        )
        self._axon_requests = _counter(registry, "basilica_miner_axon_requests", "Calls that the axon's port answered")
        self._auth_asked = Names(
            registry,
            ("basilica_miner_authentication_requests", "basilica_miner_validator_connections"),
            "Authentications that were asked for, one for each connection of a validator",
        )
        self._auth_ok = _counter(
            registry, "basilica_miner_authentication_success", "Authentications that were accepted"
        )
        self._auth_failed = Names(
            registry,
            ("basilica_miner_authentication_failures", "basilica_miner_validator_auth_failures"),
            "Authentications that were refused",
        )
        self._discoveries = _counter(
            registry, "basilica_miner_validator_node_discoveries", "Discoveries that were answered", ["validator"]
        )
        self._session_seconds = Histogram(
            "basilica_miner_validator_session_duration_seconds",
            "From a validator's first access to its end; sessions of an earlier run are left out",
            buckets=ACCESS_BUCKETS,
            registry=registry,
        )
        self._discovery_seconds = Histogram(
            "basilica_miner_deployment_duration_seconds",
            "From an assigned validator's discovery to its answer, keys read back",
            buckets=DISCOVERY_BUCKETS,
            registry=registry,
        )

    def _add_keys(self, registry: CollectorRegistry) -> None:
        self._deployments = Names(
            registry,
            (
                "basilica_miner_ssh_key_deployments",
                "basilica_miner_ssh_deployments",
                "basilica_ssh_key_deployments",
                "basilica_miner_ssh_sessions_created",
            ),
            "New keys that were read back from a node: accesses that began",
        )
        self._renewals = _counter(registry, "basilica_miner_ssh_key_renewals", "Keys whose end was put off on a node")
        self._removals = _counter(registry, "basilica_miner_ssh_key_removals", "Keys that were read back as gone")
        self._certificates = _counter(
            registry, "basilica_miner_ssh_certificates_issued", "SSH certificates that were given to validators"
        )
        self._closed = _counter(registry, "basilica_miner_ssh_sessions_closed", "Accesses to a node that ended")
        self._access_seconds = Histogram(
            "basilica_miner_ssh_session_duration_seconds",
            "From a key in place to the key gone; keys of an earlier run are left out",
            buckets=ACCESS_BUCKETS,
            registry=registry,
        )
        self._attempts = _counter(
            registry, "basilica_miner_deployment_attempts", "Key changes on a node that ended, well or not"
        )
        self._failures = _counter(registry, "basilica_miner_deployment_failures", "Key changes on a node that failed")
        self._ssh_failures = _counter(
            registry, "basilica_miner_ssh_failures", "Checks and key changes that SSH prevented", ["node_id"]
        )

    def _add_rest(self, registry: CollectorRegistry) -> None:
        self._registered = _counter(registry, "basilica_nodes_registered", "Nodes taken into service since the start")
        self._checks = _counter(
            registry, "basilica_miner_node_health_checks", "Health checks of nodes", ["node_id", "result"]
        )
        self._check_seconds = Histogram(
            "basilica_miner_node_health_check_duration_seconds", "Time of a health check", registry=registry
        )
        self._registrations = _counter(registry, "basilica_miner_bittensor_registrations", "Axons published on chain")
        self._chain_errors = _counter(
            registry, "basilica_miner_bittensor_errors", "Reads and calls of the chain that failed", ["operation"]
        )
        self._operations = _counter(
            registry, "basilica_miner_database_operations", "Transactions and reads", ["operation"]
        )
        self._database_errors = _counter(
            registry, "basilica_miner_database_errors", "Transactions and reads that failed", ["operation"]
        )
        self._query_seconds = Histogram(
            "basilica_miner_database_query_duration_seconds",
            "Time of a transaction or read, waiting for its turn included",
            buckets=QUERY_BUCKETS,
            registry=registry,
        )
        self._alerts = _counter(registry, "basilica_alerts_raised", "Alerts that began", ["rule"])

    def _validator(self, hotkey: str) -> str:
        """The label of a validator that proved who it is."""
        if hotkey not in self._validators:
            if len(self._validators) >= MAX_VALIDATORS:
                return OTHERS
            self._validators.add(hotkey)
        return hotkey

    def _call(self, validator: str) -> None:
        self._requests.labels(validator).inc()
        self._axon_requests.inc()

    def _discovered(self, event: ev.DiscoveryAnswered) -> None:
        validator = self._validator(event.validator_hotkey)
        self._call(validator)
        self._discoveries.labels(validator).inc()
        if event.assigned:
            self._discovery_seconds.observe(event.duration_ms / 1000)
            if event.nodes_ready:
                self._session_began.setdefault(event.validator_hotkey, event.at)

    def _key(
        self, event: ev.KeyDeployed | ev.KeyRemoved | ev.KeyFailed | ev.GrantRestored | ev.CertificateIssued
    ) -> None:
        match event:
            case ev.CertificateIssued():
                self._certificates.inc()
                return
            case ev.GrantRestored():
                if event.is_in_place:
                    self._in_place[event.grant_id] = None
                return
            case ev.KeyDeployed(renewed=True):
                self._renewals.inc()
            case ev.KeyDeployed():
                self._deployments.inc()
                self._in_place[event.grant_id] = event.at
            case ev.KeyRemoved():
                self._removals.inc()
                if event.grant_id in self._in_place:
                    self._closed.inc()
                    began_at = self._in_place.pop(event.grant_id)
                    if began_at is not None:
                        self._access_seconds.observe(max(0.0, event.at - began_at))
            case ev.KeyFailed():
                self._failures.inc()
                if event.error_code.startswith("ssh_"):
                    self._ssh_failures.labels(event.node_id).inc()
        self._attempts.inc()

    def _node(self, event: ev.NodeChecked | ev.NodeStateChanged | ev.NodeAdded | ev.NodeRemoved) -> None:
        match event:
            case ev.NodeChecked():
                self._checks.labels(event.node_id, "passed" if event.ok else "failed").inc()
                self._check_seconds.observe(event.latency_ms / 1000)
                if not event.ok and event.error_code.startswith("ssh_"):
                    self._ssh_failures.labels(event.node_id).inc()
            case ev.NodeStateChanged():
                if event.new == "healthy":
                    self._healthy_since.setdefault(event.node_id, event.at)
                else:
                    self._healthy_since.pop(event.node_id, None)
            case ev.NodeAdded():
                self._registered.inc()
            case ev.NodeRemoved():
                self._healthy_since.pop(event.node_id, None)
                self._ssh_failures.remove_by_labels({"node_id": event.node_id})
                self._checks.remove_by_labels({"node_id": event.node_id})

    def _database(self, operation: str, seconds: float, is_done: bool) -> None:
        self._operations.labels(operation).inc()
        self._query_seconds.observe(seconds)
        if not is_done:
            self._database_errors.labels(operation).inc()


class ValidatorMetrics:
    """Counters of the validator role."""

    def __init__(self, state: LiveState, store: Store | None = None) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(ValidatorGauges(state))
        self._add_store(store)
        self._add_http()
        self._sets = _counter(self.registry, "basilica_validator_consensus_weight_sets", "Vectors that the chain took")
        self._attested = _counter(
            self.registry, "basilica_validator_attestation_verification", "Attestations of nodes that were judged"
        )
        self._passed = _counter(
            self.registry,
            "basilica_validator_miner_successful_validations",
            "Verifications that passed",
            ["miner_uid", "node_id"],
        )
        self._counted: dict[str, set[tuple[str, str]]] = {}
        """Labels of that counter by place: a node keeps its counts when its miner gets another uid."""
        ProcessCollector(registry=self.registry)
        self._validations = _counter(self.registry, "basilica_validator_validations", "Verifications of nodes")
        self._errors = _counter(self.registry, "basilica_validator_validation_errors", "Verifications that failed")
        self._seconds = Histogram(
            "basilica_validator_validation_duration_seconds", "Time of a verification", registry=self.registry
        )
        self._add_ssh()
        self._unanswered = _counter(
            self.registry,
            "basilica_validator_rpc_critical_failures",
            "Miners that could not be asked, retries included",
            ["method", "error_type"],
        )
        self._rented = _counter(self.registry, "basilica_validator_rentals_created", "Rentals that were entered")

    def listen(self, event: Event) -> None:
        """Count one event."""
        # Not its subclass: a verification of an earlier run was counted then.
        if type(event) is ev.NodeVerified:
            self._validations.inc()
            self._seconds.observe(event.duration_ms / 1000)
            self._count_login(event)
            if not event.ok:
                self._errors.inc()
            else:
                labels = str(event.miner_uid), event.node_id
                self._passed.labels(*labels).inc()
                self._counted.setdefault(place_id(event.miner_hotkey, event.node_id), set()).add(labels)
        elif isinstance(event, ev.WeightsSet):
            self._sets.inc()
        elif isinstance(event, ev.VerificationStepFinished) and event.step == "attestation":
            self._attested.inc()
        elif isinstance(event, ev.NodesCleanedUp):
            self._forget(event.forgotten)
        elif isinstance(event, ev.MinerFailed):
            self._unanswered.labels(event.stage, event.error_code).inc()
        elif type(event) is ev.RentalBegan:
            self._rented.inc()

    def http(self, status: int, seconds: float, size: int) -> None:
        """Count one answer of the REST API."""
        self._http.labels(str(status)).inc()
        self._http_seconds.observe(seconds)
        self._http_bytes.observe(size)

    def _forget(self, places: Iterable[str]) -> None:
        """Nodes that are forgotten count nowhere; places are "hotkey/node id"."""
        for place in places:
            for labels in self._counted.pop(place, ()):
                self._passed.remove(*labels)

    def _count_login(self, event: ev.NodeVerified) -> None:
        if event.login_ms is not None:
            self._ssh_connections.inc()
            self._ssh_seconds.observe(event.login_ms / 1000)
        if event.error_code.startswith("ssh_"):
            self._ssh_failures.inc()

    def _add_ssh(self) -> None:
        self._ssh_connections = _counter(self.registry, "basilica_validator_ssh_connections", "Logins on nodes")
        self._ssh_failures = _counter(
            self.registry, "basilica_validator_ssh_failures", "Verifications that SSH prevented or broke off"
        )
        self._ssh_seconds = Histogram(
            "basilica_validator_ssh_connection_duration_seconds", "Time of a login", registry=self.registry
        )

    def _add_http(self) -> None:
        self._http = _counter(self.registry, "basilica_validator_http_requests", "Answers of the REST API", ["status"])
        self._http_seconds = Histogram(
            "basilica_validator_http_request_duration_seconds",
            "Time of a request to the REST API",
            buckets=QUERY_BUCKETS,
            registry=self.registry,
        )
        self._http_bytes = Histogram(
            "basilica_validator_http_response_size_bytes",
            "Bytes of an answer of the REST API",
            buckets=(100, 1_000, 10_000, 100_000, 1_000_000),
            registry=self.registry,
        )

    def _add_store(self, store: Store | None) -> None:
        self._operations = _counter(
            self.registry, "basilica_validator_database_operations", "Transactions and reads", ["operation"]
        )
        self._database_errors = _counter(
            self.registry, "basilica_validator_database_errors", "Transactions and reads that failed", ["operation"]
        )
        self._query_seconds = Histogram(
            "basilica_validator_database_query_duration_seconds",
            "Time of a transaction or read, waiting for its turn included",
            buckets=QUERY_BUCKETS,
            registry=self.registry,
        )
        if store is not None:
            store.observe(self._database)

    def _database(self, operation: str, seconds: float, is_done: bool) -> None:
        self._operations.labels(operation).inc()
        self._query_seconds.observe(seconds)
        if not is_done:
            self._database_errors.labels(operation).inc()

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)


def _counter(registry: CollectorRegistry, name: str, text: str, labels: Iterable[str] = ()) -> Counter:
    return Counter(name, text, list(labels), registry=registry)
