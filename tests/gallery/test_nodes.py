"""Broken nodes: the doctor names the cause and nothing else, and its fix repairs what can be repaired."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.diagnostics import Verdict
from tests.gallery.clinic import NODE_SCOPES, Practice, examine, remove_machine, repair
from tests.gallery.machine import Machine, why_no_machines
from tests.gallery.node_situations import NODE_SITUATIONS
from tests.gallery.situation import NodeSituation

pytestmark = [
    pytest.mark.sshd,
    pytest.mark.skipif(bool(why_no_machines()), reason=why_no_machines()),
]


@pytest.fixture(scope="module")
def practice(tmp_path_factory: pytest.TempPathFactory) -> Practice:
    """One miner's keys for all situations."""
    return Practice.open(tmp_path_factory.mktemp("practice"))


@pytest.fixture
def machine(practice: Practice) -> Iterator[Machine]:
    """A healthy machine that has not been started."""
    machine = practice.machine()
    yield machine
    remove_machine(machine)


def _fresh(practice: Practice) -> None:
    (practice.folder / "data" / "known_hosts").unlink(missing_ok=True)


async def test_a_healthy_node_has_no_findings(practice: Practice, machine: Machine) -> None:
    """Every rung is fine; what cannot be checked here says why."""
    _fresh(practice)
    machine.start()
    practice.configure([machine])

    report = await practice.clinic().examine(NODE_SCOPES)

    assert [(one.check, one.cause) for one in report.findings] == []
    assert report.count(Verdict.OK) > 20
    assert all(one.reason for one in report.results if one.verdict is Verdict.SKIPPED)


@pytest.mark.parametrize("situation", NODE_SITUATIONS, ids=str)
async def test_the_cause_is_named_and_the_fix_repairs(
    practice: Practice, machine: Machine, situation: NodeSituation
) -> None:
    """The finding is exactly the expected one; its fix makes the node healthy, or says that it cannot."""
    _fresh(practice)
    situation.break_it(machine)
    machine.start()
    practice.configure([machine], extra=situation.config, node=situation.node)
    if situation.check == "node.host_key":
        _pin(practice, machine)
    if situation.after is not None:
        situation.after(machine)
    clinic = practice.clinic()

    findings = await examine(clinic)

    assert [(one.check, one.cause) for one in findings if one.check not in situation.beside] == [
        (situation.check, situation.cause)
    ], findings
    assert "".join(findings[0].fixes[:1]) == situation.fix
    if not situation.repaired:
        assert situation.why_not
        return
    outcomes, left = await repair(clinic)
    assert [one.plan.fix for one in outcomes][:1] == [situation.fix]
    assert outcomes[0].ending == "repaired", outcomes[0].message
    assert [(one.check, one.cause) for one in left] == []


def _pin(practice: Practice, machine: Machine) -> None:
    """What the engine would have written down at the first meeting."""
    line = (machine.root / "host_key.pub").read_text().split()
    folder: Path = practice.folder / "data"
    folder.mkdir(exist_ok=True)
    (folder / "known_hosts").write_text(f"[{machine.host}]:{machine.port} {line[0]} {line[1]}\n")
