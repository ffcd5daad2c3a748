"""The engine as a service of the system, of one user, or of Docker: judged and repaired where it really is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.diagnostics.container_facts import Container
from engine.diagnostics.fixes import plan_fix
from engine.diagnostics.fixes.common import Case
from engine.diagnostics.look_docker import is_own
from engine.diagnostics.model import Result, Scope, Subject, Verdict
from engine.diagnostics.patient import Patient
from engine.diagnostics.plan import Plan
from engine.diagnostics.service_checks import (
    ServiceFacts,
    judge_active,
    judge_engine,
    judge_hardening,
    judge_health,
    judge_metrics,
    judge_restart,
    judge_unit,
)

CONFIG = Path("/opt/basilica/config/miner.toml")
UNIT = "/home/ops/.config/systemd/user/basilica-tui@miner.service"


def box(**values: Any) -> Container:
    """The engine's container by compose."""
    control = ("docker", "compose", "--file", "/srv/c.yaml", "miner")
    given: dict[str, Any] = {"id": "ab", "name": "c-miner-1", "runs": True, "restart": "always", "starts_again": True}
    return Container(**{**given, "control": control, **values})


def commands(check: str, fix: str, **data: str) -> list[tuple[str, str, str]]:
    """What a fix would run, as whom, and how it is taken back."""
    result = Result(check, Scope.SERVICE, "t", "m", Subject(), Verdict.FAILED, data=data)
    plan = plan_fix(Case(result, Patient(None, CONFIG)), fix)
    assert isinstance(plan, Plan)
    return [(step.command, step.as_whom, step.undo) for step in plan.steps]


@pytest.mark.parametrize(
    ("image", "path", "args", "is_ours"),
    [
        ("basilica-tui:1", "/usr/bin/tini", ["--", "--daemon", "--config", str(CONFIG)], True),
        ("mine", "/opt/venv/bin/basilica-tui", ["--daemon", "--config", str(CONFIG)], True),
        ("basilica-tui:1", "basilica-tui", ["--daemon", "--config", "/opt/other.toml"], False),
        ("basilica-tui:1", "basilica-tui", ["--config", str(CONFIG), "show"], False),
        ("other", "/bin/sh", ["--daemon", str(CONFIG)], False),
    ],
)
def test_our_container_is_the_one_with_this_configuration(
    image: str, path: str, args: list[str], is_ours: bool
) -> None:
    """Another engine's, a console in a container and other programs are not meant."""
    assert is_own({"Path": path, "Args": args, "Config": {"Image": image}}, CONFIG) is is_ours


def test_an_engine_in_a_container_needs_no_unit() -> None:
    """No second service is offered beside it, and what a unit would hide does not matter."""
    facts = ServiceFacts(has_systemd=True, container=box())
    verdicts = [judge(facts).verdict for judge in (judge_unit, judge_active, judge_restart, judge_hardening)]
    assert verdicts == [Verdict.OK, Verdict.OK, Verdict.OK, Verdict.SKIPPED]
    assert judge_unit(ServiceFacts(has_systemd=True)).cause == "absent"


def test_an_engine_in_a_container_is_asked_over_http() -> None:
    """Its control socket is its own; health and metrics are the host's ports."""
    facts = ServiceFacts(container=box(), engine="absent", health="ok", metrics="refused")
    verdicts = [judge(facts).verdict for judge in (judge_engine, judge_health, judge_metrics)]
    assert verdicts == [Verdict.SKIPPED, Verdict.OK, Verdict.FAILED]
    gone = replace(facts, container=box(runs=False))
    assert {judge(gone).verdict for judge in (judge_engine, judge_health, judge_metrics)} == {Verdict.SKIPPED}


def test_a_stopped_container_is_started_by_its_compose_file() -> None:
    """And stopped again where that is taken back."""
    found = judge_active(ServiceFacts(has_systemd=True, container=box(runs=False)))
    assert found.cause == "stopped"
    assert commands("service.active", "service.start", **found.data) == [
        ("docker compose --file /srv/c.yaml start miner", "you", "docker compose --file /srv/c.yaml stop miner")
    ]


@pytest.mark.parametrize(
    ("restart", "cause"), [("no", "none"), ("on-failure:3", "on_failure"), ("unless-stopped", ""), ("always", "")]
)
def test_a_container_that_does_not_come_back_gets_a_policy(restart: str, cause: str) -> None:
    """The policy of before is the way back."""
    found = judge_restart(ServiceFacts(container=box(restart=restart)))
    assert found.cause == cause
    if cause:
        assert commands("service.restart", "service.restart_always", **found.data) == [
            ("docker update --restart always c-miner-1", "you", f"docker update --restart {restart} c-miner-1")
        ]


def test_a_user_s_own_unit_is_started_by_that_user_s_systemd() -> None:
    """The system's would know no such unit."""
    facts = ServiceFacts(has_systemd=True, unit=UNIT, for_user=True, state="inactive (dead)", enabled="enabled")
    found = judge_active(facts)
    assert found.cause == "stopped"
    unit = "basilica-tui@miner.service"
    assert commands("service.active", "service.start", **found.data) == [
        (f"systemctl --user enable --now {unit}", "you", f"systemctl --user disable --now {unit}")
    ]
    shown = commands("service.restart", "service.restart_always", **judge_restart(facts).data)
    assert shown[0][0].startswith(f"write {UNIT}.d/50-restart.conf")
    assert {whom for _, whom, _ in shown} == {"you"}
    system = judge_active(ServiceFacts(has_systemd=True, unit="/etc/systemd/system/x.service", state="failed (failed)"))
    assert commands("service.active", "service.start", **system.data)[0][:2] == (
        "systemctl enable --now x.service",
        "root",
    )
