"""Gauges that are read from the live state at the moment of a scrape.

Two names of the documents end like a counter or a histogram although their values go up and down. They are exposed
without a type, which is true and which ``promtool`` accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily, UnknownMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from engine.clock import Clock
from engine.control.models import NodeView
from engine.control.state import LiveState
from engine.observe.metrics_process import CpuMeter, resident_bytes


class MinerGauges(Collector):
    """The miner's nodes, sessions, place on chain, and process."""

    def __init__(
        self, state: LiveState, clock: Clock, *, healthy_since: dict[str, float], connections: Callable[[], int]
    ) -> None:
        self._state = state
        self._clock = clock
        self._healthy_since = healthy_since
        self._connections = connections
        self._cpu = CpuMeter()

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        yield from self._process()
        yield from self._fleet(list(self._state.nodes.values()))
        yield from self._access()
        yield from self._chain()
        yield from common_gauges(self._state)

    def _process(self) -> Iterator[Metric]:
        started_at = self._state.engine.started_at
        if started_at is not None:
            uptime_s = max(0.0, self._clock.now() - started_at)
            yield gauge("basilica_miner_uptime_seconds", "Time since the engine started", uptime_s)
        memory = resident_bytes()
        if memory is not None:
            yield gauge("basilica_miner_memory_usage_bytes", "Resident memory of this process", memory)
        yield gauge(
            "basilica_miner_cpu_usage_percent",
            "Processor time of this process since the last scrape, 100 is one core",
            self._cpu.percent(),
        )
        yield gauge("basilica_miner_database_connections_active", "Database connections in use", self._connections())

    def _fleet(self, nodes: list[NodeView]) -> Iterator[Metric]:
        healthy = sum(n.state == "healthy" for n in nodes)
        failing = sum(n.state in ("unhealthy", "stopped") for n in nodes)
        yield untyped("basilica_miner_nodes_total", "Configured nodes", len(nodes))
        yield untyped("basilica_miner_node_count", "Configured nodes", len(nodes))
        yield gauge("basilica_miner_nodes_healthy", "Nodes whose checks pass", healthy)
        yield gauge("basilica_miner_nodes_unhealthy", "Nodes that failed several checks or changed host key", failing)
        out = sum(n.drained_since is not None for n in nodes)
        yield gauge("basilica_miner_nodes_drained", "Nodes that the operator has out of service", out)
        yield gauge(
            "basilica_miner_remote_nodes_deployed",
            "Nodes that hold a validator's key",
            sum(n.keys_in_place > 0 for n in nodes),
        )
        yield per_node("basilica_miner_node_up", "1 while the node is healthy", nodes, lambda n: n.state == "healthy")
        yield per_node("basilica_miner_node_keys", "Keys of validators on the node", nodes, lambda n: n.keys_in_place)
        yield per_node(
            "basilica_miner_node_clock_skew_seconds", "Node's clock less ours", nodes, lambda n: n.clock_skew_s
        )
        yield per_node(
            "basilica_miner_node_disk_free_bytes", "Free space on the node", nodes, lambda n: n.disk_free_bytes
        )
        yield per_node(
            "basilica_gpu_utilization", "Mean use of the node's GPUs, 0 to 100", nodes, lambda n: n.utilisation_percent
        )
        for name, text, value in _FACTS:
            yield per_node(f"basilica_miner_node_{name}", text, nodes, value)
        yield from _estimates(nodes)
        now = self._clock.now()
        yield per_node(
            "basilica_node_uptime_seconds",
            "Time since the node became healthy, by this miner's checks; 0 while it is not",
            nodes,
            lambda n: max(0.0, now - self._healthy_since[n.id]) if n.id in self._healthy_since else 0.0,
        )

    def _access(self) -> Iterator[Metric]:
        active = sum(s.state == "active" for s in self._state.sessions.values())
        for name in ("basilica_miner_validator_sessions_active", "basilica_validator_sessions_active"):
            yield gauge(name, "Validators with access", active)
        yield gauge(
            "basilica_miner_ssh_sessions_active",
            "Accesses of a validator to a node: keys in place",
            sum(n.keys_in_place for n in self._state.nodes.values()),
        )

    def _chain(self) -> Iterator[Metric]:
        engine = self._state.engine
        if engine.uid is not None:
            yield gauge("basilica_miner_bittensor_uid", "Own uid on the subnet", engine.uid)
        if engine.stake_tao is not None:
            yield gauge("basilica_miner_bittensor_stake", "Own stake in TAO", engine.stake_tao)
        if engine.metagraph_at is not None:
            age_s = max(0.0, self._clock.now() - engine.metagraph_at)
            yield gauge("basilica_miner_metagraph_age_seconds", "Time since the chain was last read", age_s)
        if engine.incentive is not None:
            yield gauge("basilica_miner_bittensor_incentive", "Own incentive on chain, 0 to 1", engine.incentive)
        if engine.emission is not None:
            yield gauge("basilica_miner_bittensor_emission", "Own emission on chain, in TAO a tempo", engine.emission)
        yield _weights(engine.own_weights)


def _weights(texts: Iterable[str]) -> Metric:
    """``texts`` are the live state's: "uid N hotkey share"; a validator without a vector has no value."""
    family = GaugeMetricFamily(
        "basilica_miner_bittensor_weight",
        "This miner's part of a validator's weights on chain, 0 to 1",
        labels=["validator", "validator_uid"],
    )
    for text in texts:
        _, uid, hotkey, share = text.split()
        if share != "-":
            family.add_metric([hotkey, uid], float(share))
    return family


def _known(value: bool | None) -> float | None:
    return None if value is None else float(value)


_FACTS: tuple[tuple[str, str, Callable[[NodeView], float | None]], ...] = (
    ("drained", "1 while the operator has it out of service", lambda n: n.drained_since is not None),
    ("gpus", "GPUs that answered last", lambda n: n.gpu_count),
    ("gpu_temperature_celsius", "The hottest GPU", lambda n: n.temperature_c),
    ("gpu_ecc_errors", "Uncorrected ECC errors of its GPUs", lambda n: n.ecc_errors),
    ("shared_gpus", "GPUs that another node shows as well", lambda n: len(n.shared_gpus)),
    ("docker_ok", "1 while the account reaches Docker", lambda n: _known(n.docker_ok)),
    ("nvidia_runtime_ok", "1 while Docker has the NVIDIA runtime", lambda n: _known(n.nvidia_runtime_ok)),
    ("latency_seconds", "The last check's time", lambda n: None if n.latency_ms is None else n.latency_ms / 1000),
    ("expiry_proved", "1 where sshd was proved to end keys by itself", lambda n: _proved(n.expiry_enforced)),
    ("keys_failing", "1 while its keys cannot be made to match", lambda n: bool(n.key_error)),
    ("unexplained_keys", "Key lines that are neither the operator's nor ours", lambda n: n.drift),
    ("orphaned_keys", "Lines marked like a grant that no row knows", lambda n: n.orphans),
    ("leftover_keys", "Lines that an earlier miner left", lambda n: n.leftovers),
    ("live_sessions", "Open connections that belong to no grant as far as can be told", lambda n: n.live_sessions),
)
"""What the checks and the key files showed last; a value that is not known is left out."""


def _proved(enforced: str) -> float | None:
    return float(enforced == "proved") if enforced else None


def _estimates(nodes: list[NodeView]) -> Iterator[Metric]:
    """What this miner reckons about its nodes; only a validator knows the truth."""
    yield per_node(
        "basilica_miner_node_ssh_success_percent", "Checks that passed in the window", nodes,
        lambda n: n.ssh_success_percent,
    )  # fmt: skip
    yield per_node("basilica_miner_node_ramp_days", "Estimate: days of unbroken success", nodes, lambda n: n.ramp_days)
    yield per_node(
        "basilica_miner_node_ramp_percent", "Estimate: reward multiplier, 100 after 14 days", nodes,
        lambda n: n.ramp_percent,
    )  # fmt: skip
    yield per_node(
        "basilica_miner_node_ramp_resets",
        "Resets of the ramp that this miner saw",
        nodes,
        lambda n: n.ramp_resets_total,
    )
    yield per_node(
        "basilica_miner_node_observed_multiplier", "Multiplier that a validator publishes, 0 to 1", nodes,
        lambda n: n.observed_multiplier,
    )  # fmt: skip


class ValidatorGauges(Collector):
    """The validator's miners and their nodes."""

    def __init__(self, state: LiveState) -> None:
        self._state = state
        self._cpu = CpuMeter()

    def collect(self) -> Iterator[Metric]:
        """Everything, as it is now."""
        yield untyped(
            "basilica_validator_discovered_miners_total",
            "Miners on chain that can be called",
            sum(miner.is_called for miner in self._state.miners.values()),
        )
        memory = resident_bytes()
        if memory is not None:
            yield gauge("basilica_validator_memory_usage_bytes", "Resident memory of this process", memory)
        yield gauge(
            "basilica_validator_cpu_usage_percent",
            "Processor time of this process since the last scrape; 100 is one core",
            self._cpu.percent(),
        )
        yield from self._of_nodes()
        yield from common_gauges(self._state)

    def _of_nodes(self) -> Iterator[Metric]:
        who = ["node_id", "miner_uid"]
        status = GaugeMetricFamily(
            "basilica_validator_node_health_status", "1 when the last verification passed", labels=who
        )
        banned = GaugeMetricFamily(
            "validator_node_ban_till", "When a node's ban ends, Unix time; 0 when it is not banned", labels=who
        )
        rented = GaugeMetricFamily(
            "basilica_validator_node_rental_status", "1 while somebody has rented the node", labels=[*who, "gpu_type"]
        )
        named: set[tuple[str, str]] = set()
        for view in self._state.verifications.values():
            uid = "" if view.miner_uid is None else str(view.miner_uid)
            if (view.node_id, uid) in named:
                continue  # a scraper refuses a page that tells the same thing twice
            named.add((view.node_id, uid))
            status.add_metric([view.node_id, uid], 1.0 if view.state == "passed" else 0.0)
            banned.add_metric([view.node_id, uid], view.banned_until or 0.0)
            rented.add_metric([view.node_id, uid, view.gpu_model], 1.0 if view.rental_id else 0.0)
        yield from (status, banned, rented)


def common_gauges(state: LiveState) -> Iterator[Metric]:
    """Alerts, the audit log and the recording, for both roles."""
    active = [alert for alert in state.alerts.values() if alert.active]
    for name, text, muted in (
        ("active", "Alerts that are active and told", False),
        ("muted", "Alerts that are active and told to nobody: silenced, or of a drained node", True),
    ):
        family = GaugeMetricFamily(f"basilica_alerts_{name}", text, labels=["level"])
        for level in ("info", "warning", "error"):
            family.add_metric([level], sum(a.level == level and bool(a.muted) is muted for a in active))
        yield family
    if state.engine.audit_seq is not None and state.engine.audit_bytes is not None:
        yield gauge("basilica_audit_records", "Records of the audit log, as last written down", state.engine.audit_seq)
        yield gauge("basilica_audit_bytes", "Size of the audit log, as last written down", state.engine.audit_bytes)
    engine = state.engine
    if engine.recording_bytes is not None:
        yield gauge("basilica_recording_bytes", "Size of the recording on disk", engine.recording_bytes)
        yield gauge(
            "basilica_recording_lost_events", "Events since the start that are not recorded", engine.recording_lost
        )
        yield gauge("basilica_recording_paused", "1 while nothing can be recorded", bool(engine.recording_error))
    if engine.recording_oldest_at is not None:
        oldest = engine.recording_oldest_at
        yield gauge("basilica_recording_oldest_timestamp_seconds", "When the recording begins, Unix time", oldest)


def gauge(name: str, text: str, value: float) -> Metric:
    """One value without labels."""
    return GaugeMetricFamily(name, text, value=value)


def untyped(name: str, text: str, value: float) -> Metric:
    """One value whose name promises another type."""
    return UnknownMetricFamily(name, text, value=value)


def per_node(
    name: str, text: str, nodes: Iterable[NodeView], value: Callable[[NodeView], float | None]
) -> GaugeMetricFamily:
    """One value for each node where it is known; the configuration bounds how many there are."""
    family = GaugeMetricFamily(name, text, labels=["node_id"])
    for node in nodes:
        number = value(node)
        if number is not None:
            family.add_metric([node.id], float(number))
    return family
