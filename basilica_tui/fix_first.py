"""What to fix first: every known problem, ranked by what it costs, with the key that leads to its repair. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from basilica_tui.format import Look, age, ago, duration, gpus, plural, remaining
from basilica_tui.tables import node_name
from engine.control.models import AlertView, EngineView, MinerView, NodeView, ServiceView, SessionView

Level = Literal["bad", "warn", "info"]
_LEVEL_RANK: Mapping[str, int] = {"bad": 0, "warn": 1, "info": 2}

NO_MINERS: Mapping[str, MinerView] = {}
SKEW_LIMIT_S = 30.0
QUIET_AFTER_S = 1800.0


@dataclass(frozen=True, slots=True)
class Fix:
    """One problem. ``costs`` says what is lost meanwhile; ``target`` is the (collection, id) that ``enter`` opens."""

    level: Level
    subject: str
    message: str
    costs: str = ""
    key: str = "enter"
    target: tuple[str, str] = ("", "")
    weight: float = 0.0


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
    """All problems, the most expensive first; the order is stable for equal ones."""
    fixes = [*_engine_fixes(engine, look), *_door_fixes(engine, sessions, look)]
    if engine.role == "validator" and miners and not any(m.state == "answered" for m in miners.values()):
        fixes.append(Fix("bad", "miners", f"none of {plural(len(miners), 'miner')} answers", "", "2", weight=700))
    for node in nodes.values():
        fixes += _node_fixes(node, look)
    for service in services.values():
        fixes += _service_fixes(service, look)
    told = {f.subject for f in fixes} | {f.target[1] for f in fixes}
    fixes += [_alert_fix(a, look) for a in alerts.values() if a.active and not a.acknowledged and a.subject not in told]
    return sorted(fixes, key=lambda f: (_LEVEL_RANK[f.level], -f.weight, f.subject, f.message))


def _engine_fixes(engine: EngineView, look: Look) -> list[Fix]:
    fixes = []
    if engine.stopping:
        fixes.append(Fix("warn", "engine", "is stopping; keys already on nodes expire by themselves", weight=1000))
    if engine.chain_error:
        known = f"what is known is {age(engine.metagraph_at, look)} old" if engine.metagraph_at else "nothing is known"
        fixes.append(
            Fix("bad", "chain", f"unreachable, {known}: {engine.chain_error}", "new validators", "6", weight=900)
        )
    if engine.config_note:
        fixes.append(Fix("warn", "config", engine.config_note, key="8", weight=400))
    return fixes


def _door_fixes(engine: EngineView, sessions: Mapping[str, SessionView], look: Look) -> list[Fix]:
    if engine.role != "miner":
        return []
    chain, advertised = engine.axon_on_chain, engine.axon_advertised
    if advertised and not chain:
        return [Fix("bad", "axon", f"{advertised} is not on the chain yet", "all validators", "6", weight=800)]
    if advertised and chain != advertised:
        return [
            Fix("bad", "axon", f"the chain says {chain}, this miner is {advertised}", "all validators", "6", weight=800)
        ]
    started, called = engine.started_at, engine.last_called_at
    quiet_since = max(started or 0.0, called or 0.0)
    if started and not engine.compressed_time and look.now - quiet_since > QUIET_AFTER_S:
        return [
            Fix("warn", "door", f"no validator has called for {duration(look.now - quiet_since)}", "", "3", weight=50)
        ]
    return []


def _node_fixes(node: NodeView, look: Look) -> list[Fix]:
    name, target = node_name(node), ("nodes", node.id)
    costs = gpus(node.gpu_count, node.gpu_model, None, look) if node.gpu_model or node.gpu_count else "its GPUs"
    if node.ramp_days is not None:
        costs = f"{costs} {look.symbols.dot} day {min(node.ramp_days, 14.0):.1f}"
    weight = float(node.gpu_count or 1) if node.failure_cost_gpus is None else node.failure_cost_gpus
    when = ago(node.last_trouble_at, look) if node.last_trouble_at is not None else ""
    if node.state == "stopped":
        if node.host_key_presented:
            text = f"host key changed {when}; traffic stopped"
            return [Fix("bad", name, text, costs, "H", target, weight + 500)]
        return [Fix("bad", name, node.reason or "traffic stopped", costs, "enter", target, weight + 500)]
    if node.state == "unhealthy":
        return [Fix("bad", name, _with_time(node.reason or "checks fail", when), costs, "t", target, weight)]
    fixes = []
    if node.state == "suspect":
        text = _with_time(node.reason or "a check failed", when)
        fixes.append(Fix("warn", name, text, costs, "t", target, weight + 100))
    if node.docker_ok is False or node.nvidia_runtime_ok is False:
        text = node.docker_error or ("Docker has no NVIDIA runtime" if node.docker_ok else "Docker does not work")
        if node.next_full_at is not None and node.next_full_at > look.now:
            text += f"; next full validation in ~{remaining(node.next_full_at, look)}"
        fixes.append(Fix("warn", name, text, costs, "enter", target, weight + 95))
    fixes += [Fix("warn", name, text, costs, "enter", target, weight + 110) for text in node.doubts[:1]]
    if node.drift:
        text = f"{plural(node.drift, 'key line')} that nobody knows"
        fixes.append(Fix("warn", name, text, "access", "x", target, weight + 80))
    if node.key_error:
        fixes.append(Fix("warn", name, f"keys: {node.key_error}", costs, "enter", target, weight + 90))
    if node.clock_skew_s is not None and abs(node.clock_skew_s) > SKEW_LIMIT_S:
        side = "ahead" if node.clock_skew_s > 0 else "behind"
        text = f"its clock is {duration(abs(node.clock_skew_s))} {side}; keys expire by node time"
        fixes.append(Fix("warn", name, text, "", "enter", target, weight + 10))
    if node.orphans:
        text = f"{plural(node.orphans, 'key line')} of ours without a grant"
        fixes.append(Fix("info", name, text, "", "enter", target, 2))
    if node.leftovers:
        text = f"{plural(node.leftovers, 'key line')} left by an older miner"
        fixes.append(Fix("info", name, text, "", "enter", target, 1))
    return fixes


def _with_time(text: str, when: str) -> str:
    return f"{text} ({when})" if when else text


def _service_fixes(service: ServiceView, look: Look) -> list[Fix]:
    if service.state != "restarting":
        return []
    retry = f"again in {remaining(service.retry_at, look)}" if service.retry_at else "restarting"
    return [Fix("warn", service.id, f"service crashed, {retry}: {service.last_error}", "", "6", weight=200)]


def _alert_fix(alert: AlertView, look: Look) -> Fix:
    level: Level = "bad" if alert.level in {"critical", "error"} else "warn"
    text = f"{alert.message} ({ago(alert.began_at, look)})" if alert.began_at else alert.message
    return Fix(level, alert.subject or "alert", text, "", "7", ("alerts", alert.id), 5)
