"""Checks of the service: the unit, whether it runs, what its hardening hides, what it answers, its database."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal

from engine.diagnostics.container_facts import Container
from engine.diagnostics.model import Cause, Check, Judgement, Scope, fail, ok, skip, warn
from engine.diagnostics.unit_hiding import hides, is_writable, showing

Answer = Literal["", "ok", "degraded", "refused", "silent", "off", "other"]
EngineState = Literal["", "running", "absent", "silent", "refused"]
BaseState = Literal["", "ok", "absent", "damaged", "locked", "unreadable", "newer", "unreachable"]
RECORDING_MAX_BYTES = 20 * 10**9


@dataclass(frozen=True)
class ServiceFacts:
    """The engine as a service."""

    has_systemd: bool = False
    unit: str = ""
    """Path of our unit file; empty when there is none."""
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """``[Service]`` of unit and drop-ins, in order."""
    for_user: bool = False
    """The unit is this user's own."""
    container: Container | None = None
    """Where Docker runs the engine, not systemd."""
    state: str = ""
    """systemd's ActiveState and SubState, where it runs."""
    enabled: str = ""
    hidden: tuple[tuple[str, str], ...] = ()
    """What the service must read: ``wallet``, ``key``, ``config``, and its absolute path."""
    data_dir: str = ""
    engine: EngineState = ""
    engine_said: str = ""
    health: Answer = ""
    health_said: str = ""
    metrics: Answer = ""
    metrics_said: str = ""
    database: BaseState = ""
    database_said: str = ""
    database_path: str = ""
    recording_bytes: int | None = None
    free_bytes: int | None = None

    @property
    def runs(self) -> bool:
        """Whether there is an engine to be asked; one in a container keeps its control socket for itself."""
        return self.engine == "running" or (self.container is not None and self.container.runs)


def judge_unit(facts: ServiceFacts) -> Judgement:
    """Is there a unit that starts the engine."""
    if facts.unit:
        return ok(facts.unit)
    if facts.container is not None:
        return ok(facts.container.words)
    if not facts.has_systemd:
        return skip("systemd does not run here: a container, or another init")
    return warn("absent", "no unit of this host starts basilica-tui")


def judge_active(facts: ServiceFacts) -> Judgement:
    """Does it run, and will it after a reboot."""
    box = facts.container
    if not facts.unit and box is not None:
        words = {"start": shlex.join(box.command("start")), "stop": shlex.join(box.command("stop"))}
        return ok(box.words) if box.runs else fail("stopped", box.words, **words)
    if not facts.unit:
        return skip("there is no unit")
    if not facts.has_systemd or not facts.state:
        return skip("systemd does not run here, so nothing is known of its state")
    known = {"unit": PurePosixPath(facts.unit).name, **({"for_user": "yes"} if facts.for_user else {})}
    if facts.state.startswith("failed"):
        return fail("crashed", f"systemctl says {facts.state}", **known)
    if not facts.state.startswith(("active", "activating", "reloading")):
        return fail("stopped", f"systemctl says {facts.state}", **known)
    if facts.enabled not in {"enabled", "static", "alias", "linked", ""}:
        return warn("not_enabled", f"systemctl says {facts.enabled}", **known)
    return ok(facts.state)


def judge_restart(facts: ServiceFacts) -> Judgement:
    """What ends must come back."""
    box = facts.container
    if not facts.unit and box is not None:
        if box.restart in ("always", "unless-stopped"):
            return ok(box.words)
        cause = "on_failure" if box.restart.startswith("on-failure") else "none"
        return warn(cause, box.words, container=box.name, restart=box.restart)
    if not facts.unit:
        return skip("there is no unit")
    restart = _last(facts, "Restart") or "no"
    if restart == "always":
        return ok("Restart=always")
    cause = "on_failure" if restart == "on-failure" else "none"
    return warn(cause, f"{facts.unit}: Restart={restart}", **_unit_data(facts))


def _unit_data(facts: ServiceFacts) -> dict[str, str]:
    return {"unit": facts.unit, **({"for_user": "yes"} if facts.for_user else {})}


def judge_hardening(facts: ServiceFacts) -> Judgement:
    """What the unit hides from the engine."""
    if not facts.unit and facts.container is not None:
        return skip("it runs in a container, which sees what its compose file mounts")
    if not facts.unit:
        return skip("there is no unit")
    for what, path in facts.hidden:
        said = hides(facts.settings, path)
        if said:
            lines = "\n".join(showing(facts.settings, path, facts.data_dir))
            return fail(f"hides_{what}", f"{said} hides {path}", lines=lines, **_unit_data(facts))
    if _last(facts, "ProtectSystem") == "strict" and not is_writable(facts.settings, facts.data_dir):
        return fail(
            "read_only_data",
            f"ProtectSystem=strict, and no ReadWritePaths holds {facts.data_dir}",
            lines=f"ReadWritePaths={facts.data_dir}",
            **_unit_data(facts),
        )
    return ok("wallet, key, configuration and data directory stay visible")


def judge_engine(facts: ServiceFacts) -> Judgement:
    """Does an engine answer on the control socket."""
    if facts.engine == "running":
        return ok(facts.engine_said)
    if facts.engine == "absent" and facts.runs:
        return skip("it runs in a container, which keeps its control socket")
    if facts.engine == "absent":
        return skip("no engine runs; nothing but that is known")
    if not facts.engine:
        return skip("the control socket was not asked")
    return fail(facts.engine, facts.engine_said)


def judge_health(facts: ServiceFacts) -> Judgement:
    """Monitoring asks here."""
    if facts.health == "off":
        return ok("health.enabled is false")
    if not facts.runs:
        return skip("no engine runs")
    if facts.health == "ok":
        return ok(facts.health_said)
    if facts.health == "degraded":
        return warn("degraded", facts.health_said)
    return fail("no_answer", facts.health_said) if facts.health else skip("it was not asked")


def judge_metrics(facts: ServiceFacts) -> Judgement:
    """Prometheus asks here."""
    if facts.metrics == "off":
        return ok("metrics.enabled is false")
    if not facts.runs:
        return skip("no engine runs")
    if facts.metrics == "ok":
        return ok(facts.metrics_said)
    return fail("no_answer", facts.metrics_said) if facts.metrics else skip("they were not asked")


def judge_database(facts: ServiceFacts) -> Judgement:
    """Grants live there."""
    if facts.database == "absent":
        return ok(facts.database_said or f"{facts.database_path} will be made at the first start")
    if facts.database == "ok":
        return ok(facts.database_said)
    if not facts.database:
        return skip("the database was not looked at")
    return fail(facts.database, facts.database_said)


def judge_recording(facts: ServiceFacts) -> Judgement:
    """The event log grows with what happens."""
    size, free = facts.recording_bytes, facts.free_bytes
    if size is None:
        if facts.database and not facts.database_path:
            return skip("the event log is on the database server")
        return ok("nothing is recorded yet")
    said = f"{size / 1e9:.2f} GB of events"
    if size > RECORDING_MAX_BYTES or (free is not None and size > 10**9 and size > 2 * free):
        return warn("large", said, f"{(free or 0) / 1e9:.1f} GB are free beside it")
    return ok(said)


def _last(facts: ServiceFacts, key: str) -> str:
    return (facts.settings.get(key) or ("",))[-1]


def _check(
    name: str, title: str, meaning: str, judge: Callable[[ServiceFacts], Judgement], *causes: Cause
) -> Check[ServiceFacts]:
    return Check(f"service.{name}", Scope.SERVICE, title, meaning, judge, causes)


_VISIBLE = "basilica-tui service install writes a unit that fits"
CHECKS: tuple[Check[ServiceFacts], ...] = (
    _check(
        "unit",
        "A unit starts the engine",
        "after a reboot nobody starts it",
        judge_unit,
        Cause("absent", "the service is not installed", ("service.install",)),
    ),
    _check(
        "active",
        "The service runs",
        "while it does not, nobody is let in",
        judge_active,
        Cause("stopped", "it was stopped, or never started", ("service.start",)),
        Cause(
            "crashed",
            "it failed",
            ("service.start",),
            advice="read journalctl -u 'basilica-tui*', with --user for a user's own service",
        ),
        Cause("not_enabled", "it is not started at boot", ("service.start",)),
    ),
    _check(
        "restart",
        "The service comes back by itself",
        "a program that ends stays away",
        judge_restart,
        Cause("on_failure", "Restart=on-failure ignores an orderly end", ("service.restart_always",)),
        Cause("none", "nothing restarts it", ("service.restart_always",)),
    ),
    _check(
        "hardening",
        "The unit hides nothing that is needed",
        "the engine starts and finds no key",
        judge_hardening,
        Cause("hides_wallet", "the unit hides the wallet", ("service.show_paths",), advice=_VISIBLE),
        Cause("hides_key", "the unit hides the miner's SSH key", ("service.show_paths",), advice=_VISIBLE),
        Cause("hides_config", "the unit hides the configuration", ("service.show_paths",), advice=_VISIBLE),
        Cause(
            "read_only_data",
            "the data directory cannot be written",
            ("service.show_paths",),
            advice="add ReadWritePaths= for the data directory",
        ),
    ),
    _check(
        "engine",
        "An engine answers",
        "console and actions need it",
        judge_engine,
        Cause("silent", "something holds the control socket and does not answer", advice="restart the service"),
        Cause(
            "refused",
            "the control socket is left over, and no engine is behind it",
            advice="start the engine: it cleans up",
        ),
    ),
    _check(
        "health",
        "Health answers",
        "monitoring sees a dead miner",
        judge_health,
        Cause("degraded", "the engine answers that something is wrong", advice="look at its alerts"),
        Cause("no_answer", "nobody answers at the health address", advice="check [health] host and port"),
    ),
    _check(
        "metrics",
        "Metrics answer",
        "dashboards stay empty",
        judge_metrics,
        Cause("no_answer", "nobody answers at the metrics address", advice="check [metrics.prometheus] host and port"),
    ),
    _check(
        "database",
        "The database is sound",
        "grants that cannot be read cannot be ended",
        judge_database,
        Cause(
            "damaged", "the file is damaged", advice="stop the engine and restore a backup: basilica-tui backup restore"
        ),
        Cause(
            "locked",
            "another process holds it for itself",
            advice="end what holds it, a copying tool or an sqlite3 shell: fuser -v shows it",
        ),
        Cause("unreadable", "this user may not read it", advice="run as the engine's user"),
        Cause(
            "unreachable",
            "the database server does not let us in",
            advice="check [database] url, and that PostgreSQL runs",
        ),
        Cause("newer", "a newer version wrote it", advice="upgrade this program, or restore the backup of before"),
    ),
    _check(
        "recording",
        "The recording has a bound",
        "a full disk stops the engine",
        judge_recording,
        Cause("large", "the event log has grown large", advice="shorten its retention, or move engine.data_dir"),
    ),
)
