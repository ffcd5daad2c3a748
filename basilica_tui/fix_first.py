"""What to fix first: every known problem, ranked by what it costs, with the key that leads to its repair. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from basilica_tui.format import Look, age, ago, duration, gpus, plural, remaining
from basilica_tui.node_table import node_name
from engine.control.models import AlertView, EngineView, MinerView, NodeView, ServiceView, SessionView
from engine.control.remedies import fix_for

Level = Literal["bad", "warn", "info"]
Stake = Literal["earnings", "access", "comfort"]
_LEVEL_RANK: Mapping[str, int] = {"bad": 0, "warn": 1, "info": 2}
_STAKE_RANK: Mapping[str, int] = {"earnings": 0, "access": 1, "comfort": 2}

NO_MINERS: Mapping[str, MinerView] = {}
SKEW_LIMIT_S = 30.0
QUIET_AFTER_S = 1800.0
DOCTOR = "doctor.fix"
ON_ITS_WAY = 0.5
"""What may still be avoided counts this much of what is lost already."""
_ALSO_TOLD_AS: Mapping[str, str] = {
    "weights_failed": "weights", "miners_silent": "miners", "chain_stale": "chain", "axon_mismatch": "axon",
    "axon_unreachable": "axon", "no_validator": "door",
}  # fmt: skip
"""Alert rules whose trouble stands in the list without them, and under which subject."""
_DOWN = frozenset({"stopped", "unhealthy"})
"""A node in such a state has one line, whatever else is wrong with it."""
_OWN_KIND: Mapping[str, Callable[[NodeView], bool]] = {
    "node_disk": lambda n: False,
    "hardware_changed": lambda n: False,
    "shared_gpu": lambda n: bool(n.doubts),
    "key_drift": lambda n: n.drift > 0,
    "key_stuck": lambda n: bool(n.key_error or n.orphans),
    "clock_skew": lambda n: n.clock_skew_s is not None and abs(n.clock_skew_s) > SKEW_LIMIT_S,
}
"""Alert rules about one side of a node, and whether its own lines tell that side."""
EARNING_SERVICES = frozenset({"reconciler", "fleet", "assignment", "verification", "weights", "sessions"})
"""Without these nobody is let in, checked or paid."""


@dataclass(frozen=True, slots=True)
class Fix:
    """One problem. ``costs`` says what is lost meanwhile; ``target`` is the (collection, id) that ``enter`` opens.

    ``stake`` and ``gpus`` (effective GPUs, ramp included) rank it; ``command`` is what ``f`` asks the engine for,
    verb first, after showing it. With ``doctor.fix`` come a check and a node id (empty: the host): the doctor examines,
    and its plan for what it finds is what is shown.
    """

    level: Level
    subject: str
    message: str
    costs: str = ""
    key: str = "enter"
    target: tuple[str, str] = ("", "")
    stake: Stake = "comfort"
    gpus: float = 0.0
    command: tuple[str, ...] = ()


def rank_fixes(
    engine: EngineView,
    nodes: Mapping[str, NodeView],
    sessions: Mapping[str, SessionView],
    services: Mapping[str, ServiceView],
    alerts: Mapping[str, AlertView],
    *,
    look: Look,
    miners: Mapping[str, MinerView] = NO_MINERS,
) -> list[Fix]:
    """All problems: what costs effective GPUs first, most of them on top, then access, then comfort."""
    fleet = sum(gpus_at_stake(node) for node in nodes.values())
    fixes = [*_engine_fixes(engine, fleet, look), *_door_fixes(engine, fleet, look)]
    if engine.role == "validator" and miners and not any(m.state == "answered" for m in miners.values()):
        text = f"none of {plural(len(miners), 'miner')} answers"
        fixes.append(Fix("bad", "miners", text, "", "2", stake="earnings"))
    if engine.weights_error:
        fixes.append(Fix("bad", "weights", engine.weights_error, "all miners", "4", stake="earnings"))
    for node in nodes.values():
        fixes += _node_fixes(node, look)
    for service in services.values():
        fixes += _service_fixes(service, fleet, look)
    told = {name for f in fixes for name in (f.subject, f.target[1]) if name}
    known = {name: n.id for n in nodes.values() for name in (n.id, n.label, n.host) if name}
    fixes += [
        _alert_fix(a, nodes.get(known.get(a.subject, "")), look)
        for a in alerts.values()
        if a.active and not a.acknowledged and not _is_told(a, nodes.get(known.get(a.subject, "")), told)
    ]
    return sorted(
        fixes, key=lambda f: (_STAKE_RANK[f.stake], -round(f.gpus, 3), _LEVEL_RANK[f.level], f.subject, f.message)
    )


def _is_told(alert: AlertView, node: NodeView | None, told: set[str]) -> bool:
    """Whether the list says it already; what else a node has does not hide an alert of another kind."""
    if node is not None and node.state not in _DOWN and alert.rule in _OWN_KIND:
        return _OWN_KIND[alert.rule](node)
    names = {alert.subject, _ALSO_TOLD_AS.get(alert.rule, alert.subject)}
    return bool((names if node is None else names | {node.id}) & told)


def gpus_at_stake(node: NodeView) -> float:
    """Effective GPUs that a failure takes: the engine's own figure, else GPUs times ramp; a new node counts a little.

    Where the ramp is not known the whole node counts.
    """
    gpus = float(node.gpu_count or 1)
    if node.failure_cost_gpus is not None:
        return max(node.failure_cost_gpus, 0.01 * gpus)
    return gpus if node.ramp_percent is None else max(gpus * node.ramp_percent / 100, 0.01 * gpus)


def _engine_fixes(engine: EngineView, fleet: float, look: Look) -> list[Fix]:
    fixes = []
    if engine.stopping:
        text = "is stopping; keys already on nodes expire by themselves"
        fixes.append(Fix("warn", "engine", text, stake="earnings", gpus=fleet))
    if engine.chain_error:
        known = f"what is known is {age(engine.metagraph_at, look)} old" if engine.metagraph_at else "nothing is known"
        text = f"unreachable, {known}: {engine.chain_error}"
        again = ("assignment.refresh",) if engine.role == "miner" else ()
        fixes.append(Fix("bad", "chain", text, "new validators", "6", stake="access", command=again))
    if engine.config_note:
        fixes.append(Fix("warn", "config", engine.config_note, key="8", command=("engine.reload",)))
    return fixes


def _door_fixes(engine: EngineView, fleet: float, look: Look) -> list[Fix]:
    if engine.role != "miner":
        return []
    chain, advertised = engine.axon_on_chain, engine.axon_advertised
    if advertised and chain != advertised:
        text = f"the chain says {chain}, not {advertised}" if chain else f"{advertised} is not on the chain yet"
        return [
            Fix("bad", "axon", text, "all validators", "f", stake="earnings", gpus=fleet, command=("axon.publish",))
        ]
    if engine.reach in ("refused", "timeout"):
        said = "is refused" if engine.reach == "refused" else "gets no answer"
        text = f"{engine.reach_peer} calls {advertised} from outside and {said}"
        command = (DOCTOR, "host.axon_reach", "")
        return [Fix("bad", "axon", text, "all validators", "f", stake="earnings", gpus=fleet, command=command)]
    started, called = engine.started_at, engine.last_called_at
    quiet_since = max(started or 0.0, called or 0.0)
    if started and not engine.compressed_time and look.now - quiet_since > QUIET_AFTER_S:
        text = f"no validator has called for {duration(look.now - quiet_since)}"
        return [Fix("warn", "door", text, "", "3", stake="access")]
    return []


def _node_fixes(node: NodeView, look: Look) -> list[Fix]:
    name, target, costs = node_name(node), ("nodes", node.id), _costs(node, look)
    at_stake = gpus_at_stake(node)
    when = ago(node.last_trouble_at, look) if node.last_trouble_at is not None else ""

    def lost(text: str, key: str, *command: str) -> Fix:
        return Fix("bad", name, text, costs, key, target, "earnings", at_stake, command)

    def coming(text: str, key: str, *command: str) -> Fix:
        return Fix("warn", name, text, costs, key, target, "earnings", at_stake * ON_ITS_WAY, command)

    fixes = []
    if node.state == "stopped" and node.host_key_presented:
        command = ("node.accept_host_key", node.id, node.host_key_presented)
        return [lost(f"host key changed {when}; traffic stopped", "H", *command)]
    if node.state == "stopped":
        return [lost(node.reason or "traffic stopped", "enter")]
    if node.state == "unhealthy":
        return [lost(_with_time(node.reason or "checks fail", when), "f", *_doctor("node_failing", node.id))]
    if node.state == "suspect":
        fixes.append(coming(_with_time(node.reason or "a check failed", when), "f", "node.check", node.id))
    if node.docker_ok is False or node.nvidia_runtime_ok is False:
        text = node.docker_error or ("Docker has no NVIDIA runtime" if node.docker_ok else "Docker does not work")
        if node.next_full_at is not None and node.next_full_at > look.now:
            text += f"; next full validation in ~{remaining(node.next_full_at, look)}"
        check = "node.docker" if node.docker_ok is False else "node.nvidia_runtime"
        fixes.append(coming(text, "f", DOCTOR, check, node.id))
    fixes += [coming(text, "enter") for text in node.doubts[:1]]
    if node.key_error and not any(node.key_error in fix.message for fix in fixes):
        fixes.append(coming(f"keys: {node.key_error}", "f", "node.reconcile", node.id))
    return [*fixes, *_access_fixes(node, look)]


def _access_fixes(node: NodeView, look: Look) -> list[Fix]:
    name, target = node_name(node), ("nodes", node.id)

    def fix(level: Level, text: str, key: str, *command: str) -> Fix:
        return Fix(level, name, text, "access", key, target, "access", 0.0, command)

    fixes = []
    if node.drift:
        fixes.append(
            fix("warn", f"{plural(node.drift, 'key line')} that nobody knows", "f", *_doctor("key_drift", node.id))
        )
    if node.clock_skew_s is not None and abs(node.clock_skew_s) > SKEW_LIMIT_S:
        side = "ahead" if node.clock_skew_s > 0 else "behind"
        text = f"its clock is {duration(abs(node.clock_skew_s))} {side}; keys expire by node time"
        fixes.append(fix("warn", text, "f", *_doctor("clock_skew", node.id)))
    if node.orphans:
        text = f"{plural(node.orphans, 'key line')} of ours without a grant"
        fixes.append(fix("info", text, "f", "node.reconcile", node.id))
    if node.leftovers:
        text = f"{plural(node.leftovers, 'key line')} left by an older miner"
        fixes.append(fix("info", text, "f", "node.adopt_leftovers", node.id))
    return fixes


def _doctor(rule: str, node_id: str) -> tuple[str, ...]:
    """The doctor's fix for what an alert of that rule is about; nothing where there is none."""
    remedy = fix_for(rule)
    return (DOCTOR, remedy.check, node_id) if remedy is not None and remedy.fix else ()


def _costs(node: NodeView, look: Look) -> str:
    """``8×H100 · day 11.2``: what is on the ramp and how far."""
    costs = gpus(node.gpu_count, node.gpu_model, None, look) if node.gpu_model or node.gpu_count else "its GPUs"
    if node.ramp_days is None:
        return costs
    return f"{costs} {look.symbols.dot} day {min(node.ramp_days, 14.0):.1f}"


def _with_time(text: str, when: str) -> str:
    return f"{text} ({when})" if when else text


def _service_fixes(service: ServiceView, fleet: float, look: Look) -> list[Fix]:
    if service.state != "restarting":
        return []
    retry = f"again in {remaining(service.retry_at, look)}" if service.retry_at else "restarting"
    text = f"service crashed, {retry}: {service.last_error}"
    if service.id in EARNING_SERVICES:
        return [Fix("warn", service.id, text, "all nodes", "6", stake="earnings", gpus=fleet * ON_ITS_WAY)]
    return [Fix("warn", service.id, text, "", "6")]


def _alert_fix(alert: AlertView, node: NodeView | None, look: Look) -> Fix:
    is_bad = alert.level in {"critical", "error"}
    level: Level = "bad" if is_bad else "warn"
    stake: Stake = "access" if is_bad else "comfort"
    name = (alert.subject or "alert") if node is None else node_name(node)
    words = alert.message.removeprefix(f"{name}: ")
    text = f"{words} ({ago(alert.began_at, look)})" if alert.began_at else words
    target = ("alerts", alert.id) if node is None else ("nodes", node.id)
    repair = _doctor(alert.rule, "" if node is None else node.id)
    if repair:
        return Fix(level, name, text, "", "f", target, stake, 0.0, repair)
    command = ("alert.acknowledge", alert.id)
    return Fix(level, name, text, "", "7", target, stake, 0.0, command)
