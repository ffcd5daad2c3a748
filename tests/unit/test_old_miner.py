"""Which unit runs the deployed miner, and what ending it does: decided by systemd's word, not by a process's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.diagnostics.fixes import plan_fix
from engine.diagnostics.fixes.common import Case
from engine.diagnostics.look_old_miner import choose_unit
from engine.diagnostics.look_systemd import UnitState, container_of, read_group
from engine.diagnostics.model import Result, Scope, Subject, Verdict
from engine.diagnostics.patient import Patient
from engine.diagnostics.plan import KeepCopy, LocalCommand, Plan

OLD = UnitState("active", "running", "enabled", 12, "/system.slice/basilica-miner.service")
IDLE = UnitState("inactive", "dead", "enabled")
OFF = UnitState("inactive", "dead", "disabled")
CONTAINER = "/system.slice/docker-" + "ab" * 32 + ".scope"


@pytest.mark.parametrize(
    ("states", "running", "chosen"),
    [
        ({}, {7: "/user.slice/user-0.slice/session-1.scope"}, ""),
        ({"a.service": IDLE, "b.service": OLD}, {12: OLD.group}, "b.service"),
        ({"a.service": IDLE, "b.service": OLD}, {99: f"{OLD.group}/inner"}, "b.service"),
        ({"a.service": OFF, "b.service": IDLE}, {7: CONTAINER}, "b.service"),
        ({"a.service": OLD, "b.service": IDLE}, {99: f"{OLD.group}-2"}, "a.service"),
    ],
)
def test_the_unit_with_the_process_is_meant(states: dict[str, UnitState], running: dict[int, str], chosen: str) -> None:
    """Its main process or its control group decide; then what runs, then what starts at boot."""
    assert choose_unit(states, running) == chosen


@pytest.mark.parametrize(
    ("pid", "group", "is_one"),
    [
        (12, "", True),
        (13, OLD.group, True),
        (13, f"{OLD.group}/worker", True),
        (13, f"{OLD.group}x", False),
        (13, CONTAINER, False),
        (13, "", False),
    ],
)
def test_a_process_belongs_to_a_unit_by_its_control_group(pid: int, group: str, is_one: bool) -> None:
    """A name that merely begins alike is another unit."""
    assert OLD.has(pid, group) is is_one
    assert not IDLE.has(pid, group)


@pytest.mark.parametrize(
    ("group", "container"),
    [
        (CONTAINER, "ab" * 32),
        ("/docker/" + "cd" * 32, "cd" * 32),
        ("/../../docker/" + "cd" * 32 + "/init", "cd" * 32),
        ("/system.slice/docker.service", ""),
        ("/system.slice/basilica-miner.service", ""),
        ("", ""),
    ],
)
def test_a_container_is_known_by_its_control_group(group: str, container: str) -> None:
    """Under either driver of control groups."""
    assert container_of(group) == container


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("0::/system.slice/a.service\n", "/system.slice/a.service"),
        ("9:name=systemd:/\n4:memory:/\n0::/system.slice/a.service\n", "/system.slice/a.service"),
        ("4:memory:/other\n1:name=systemd:/system.slice/a.service\n0::/\n", "/system.slice/a.service"),
        ("4:memory:/docker/ab\n1:name=systemd:/\n", "/docker/ab"),
        ("0::/\n", "/"),
        ("0::/a:b.service\nnonsense\n", "/a:b.service"),
        ("", ""),
    ],
)
def test_a_control_group_is_read_in_either_version(text: str, group: str) -> None:
    """A host may have both, and use one."""
    assert read_group(text) == group


def plan_of(fix: str, tmp_path: Path, **data: str) -> Plan | str:
    """The plan of one fix for a deployed miner that was found like this."""
    path = tmp_path / "miner.toml"
    path.write_text("[bittensor]\n")
    result = Result("host.old_miner", Scope.HOST, "t", "m", Subject(), Verdict.FAILED, fixes=(fix,), data=data)
    return plan_fix(Case(result, Patient(None, path)), fix)


@pytest.mark.parametrize(
    ("state", "undo"),
    [
        ("runs enabled", ("enable", "--now")),
        ("runs", ("start",)),
        ("enabled", ("enable",)),
    ],
)
def test_the_way_back_is_the_state_of_before(tmp_path: Path, state: str, undo: tuple[str, ...]) -> None:
    """A unit that did not run is not started, one that was not enabled is not enabled."""
    plan = plan_of("host.stop_old_miner", tmp_path, old_unit="basilica-miner.service", old_state=state)
    assert isinstance(plan, Plan)
    action = plan.steps[0].action
    assert isinstance(action, LocalCommand)
    assert action.undo == ("systemctl", *undo, "basilica-miner.service")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"old_unit": "basilica-miner.service", "old_state": "enabled", "old_loose": "77"}, "process 77"),
        ({"old_unit": "basilica-miner.service", "old_state": ""}, "neither a unit"),
        ({}, "neither a unit"),
    ],
)
def test_what_no_unit_runs_is_a_person_s(tmp_path: Path, data: dict[str, str], words: str) -> None:
    """A process that somebody started by hand is named; nothing is planned."""
    for fix in ("host.stop_old_miner", "host.take_over"):
        plan = plan_of(fix, tmp_path, **data)
        assert isinstance(plan, str)
        assert words in plan


def test_our_own_running_service_is_the_last_to_come_back(tmp_path: Path) -> None:
    """It is stopped first, so that taken back it starts after its configuration has been put back."""
    data = {"old_unit": "basilica-miner.service", "old_state": "runs enabled", "own_unit": "basilica-tui@miner.service"}
    plan = plan_of("host.take_over", tmp_path, **data)
    assert isinstance(plan, Plan)
    first = plan.steps[0].action
    assert isinstance(first, LocalCommand)
    assert (first.words[1:], first.undo[1:]) == (
        ("stop", "basilica-tui@miner.service"),
        ("start", "basilica-tui@miner.service"),
    )
    assert plan.is_reversible


def test_the_copy_of_an_earlier_take_over_stays(tmp_path: Path) -> None:
    """The next copy has another name, however many there are."""
    names = []
    for _ in range(3):
        plan = plan_of("host.take_over", tmp_path, old_unit="basilica-miner.service", old_state="runs enabled")
        assert isinstance(plan, Plan)
        action = plan.steps[0].action
        assert isinstance(action, KeepCopy)
        action.copy.write_text("kept")
        names.append(action.copy.name)
    assert names == [f"miner.toml.before-take-over{end}" for end in ("", "-2", "-3")]
