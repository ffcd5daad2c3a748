"""Every fix of the table can be planned for some finding, and says whole what it would do."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import MinerConfig
from engine.diagnostics.catalogue import check_of
from engine.diagnostics.fixes import FIXES, Case, plan_fix
from engine.diagnostics.fixes.common import as_root, systemctl_step
from engine.diagnostics.model import HOST, climb
from engine.diagnostics.patient import NodePatient, patient_of
from engine.diagnostics.plan import LocalCommand, Plan, render_plan
from tests.unit.doctor_cases.nodes import KEY, TARGET
from tests.unit.test_doctor_causes import CASES

PLACES = {"node", "access"}


def plan(number: int, folder: Path, fix: str) -> Plan | str:
    """What that fix would do about one line of the table, on a host with everything that a plan may need."""
    case = CASES[number]
    result = climb([check_of(case.check)], case.facts, HOST)[0]
    node = NodePatient(TARGET, "node one") if case.check.partition(".")[0] in PLACES else None
    patient = patient_of(MinerConfig(), folder / "miner.toml")
    return plan_fix(Case(result, patient, node, KEY.public_line, "ops"), fix)


@pytest.mark.parametrize("fix", FIXES)
def test_every_fix_can_be_planned(fix: str, tmp_path: Path) -> None:
    """Some evidence leads to a plan: a fix that can only say why it cannot is none."""
    numbers = [number for number, case in enumerate(CASES) if fix in check_of(case.check).cause(case.cause).fixes]
    plans = [made for number in numbers if isinstance(made := plan(number, tmp_path, fix), Plan)]

    assert plans, [plan(number, tmp_path, fix) for number in numbers]
    for one in plans:
        assert one.steps
        for step in one.steps:
            assert step.title
            assert step.where
            assert step.as_whom
            assert step.command
            assert step.command.splitlines()[0].strip() in render_plan(one)


def test_what_needs_root_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root runs a command as it is, anybody else by sudo without a question; a user's own units need neither."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert as_root("timedatectl") == ("timedatectl",)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert as_root("timedatectl") == ("sudo", "-n", "timedatectl")
    action = systemctl_step("start", "start", "x.service", undo=("stop", "x.service")).action
    assert isinstance(action, LocalCommand)
    assert (action.words[:3], action.undo[:3]) == (("sudo", "-n", "systemctl"), ("sudo", "-n", "systemctl"))
    own = systemctl_step("reload", "--user", "daemon-reload").action
    assert isinstance(own, LocalCommand)
    assert (own.words[0], own.undo) == ("systemctl", ())
