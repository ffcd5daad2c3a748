"""Broken nodes: the doctor names the cause and nothing else, and its fix repairs what can be repaired."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.diagnostics.model import Verdict
from tests.gallery.clinic import NODE_SCOPES, Practice, examine, remove_machine, repair
from tests.gallery.machine import ACCOUNT, SUDOER, SUDOER_PASSWORD, Machine, add_sudoer, hash_of, why_no_machines
from tests.gallery.node_situations import NODE_SITUATIONS
from tests.gallery.situation import NodeSituation

pytestmark = [
    pytest.mark.sshd,
    pytest.mark.timeout(300),
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
    practice.configure([machine], node=situation.node, disk_min_gb=situation.disk_min_gb)
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


def _answering(asked: list[str], password: str) -> Callable[[str], str]:
    """Somebody at the terminal, whose every answer is counted."""

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return password

    return answer


def _pin(practice: Practice, machine: Machine) -> None:
    """What the engine would have written down at the first meeting."""
    line = (machine.root / "host_key.pub").read_text().split()
    folder: Path = practice.folder / "data"
    folder.mkdir(exist_ok=True)
    (folder / "known_hosts").write_text(f"[{machine.host}]:{machine.port} {line[0]} {line[1]}\n")


async def test_hardening_that_would_lock_us_out_takes_itself_back(practice: Practice, machine: Machine) -> None:
    """An administrator who has only a password turns passwords off: the node puts its settings back by itself."""
    _fresh(practice)
    add_sudoer(machine, "")
    machine.sshd_lines.append("PasswordAuthentication yes")
    machine.start()
    practice.configure([machine])
    asked: list[str] = []
    clinic = practice.clinic(admin=SUDOER, keys=False, ask=_answering(asked, SUDOER_PASSWORD))

    outcomes, left = await repair(clinic)

    assert [(one.plan.fix, one.ending) for one in outcomes] == [("node.harden", "failed")]
    assert "taken back" in outcomes[0].message
    assert [(one.check, one.cause) for one in left] == [("node.hardening", "password_login")]
    assert not (machine.etc / "ssh" / "sshd_config.d" / "00-basilica.conf").exists()
    assert len(asked) == 1


async def test_an_administrator_with_sudo_repairs_with_one_password(practice: Practice, machine: Machine) -> None:
    """The password is asked for once, given to sudo, and written down nowhere."""
    _fresh(practice)
    add_sudoer(machine, practice.admin_line)
    machine.edit("group", f"docker:x:5900:{ACCOUNT}", "docker:x:5900:")
    (machine.home / ".ssh").chmod(0o777)
    machine.start()
    practice.configure([machine])
    asked: list[str] = []
    clinic = practice.clinic(admin=SUDOER, ask=_answering(asked, SUDOER_PASSWORD))

    outcomes, left = await repair(clinic)

    assert [(one.plan.fix, one.ending) for one in outcomes] == [
        ("node.modes", "repaired"),
        ("node.docker_group", "repaired"),
    ]
    assert left == ()
    assert len(asked) == 1
    assert SUDOER_PASSWORD not in (practice.folder / "data" / "fixes.jsonl").read_text()


async def test_the_first_key_goes_in_with_the_accounts_own_password(practice: Practice, machine: Machine) -> None:
    """Without any administrator: as ssh-copy-id does, with the account's password, asked for once."""
    _fresh(practice)
    machine.keys.unlink()
    machine.edit("shadow", f"{ACCOUNT}:*:", f"{ACCOUNT}:{hash_of('pass word')}:")
    machine.sshd_lines.append("PasswordAuthentication yes")
    machine.start()
    practice.configure([machine])
    asked: list[str] = []
    clinic = practice.clinic(admin="", ask=_answering(asked, "pass word"))

    outcomes, left = await repair(clinic)

    assert (outcomes[0].plan.fix, outcomes[0].ending) == ("node.authorize", "repaired")
    assert practice.key.public_line in machine.keys.read_text()
    assert len(asked) == 1
    assert [(one.check, one.cause) for one in left] in ([], [("node.hardening", "password_login")])


async def test_a_mistyped_port_is_corrected(practice: Practice) -> None:
    """Nothing listens on the configured port, sshd on a usual one: the node is reached there, under the same id."""
    _fresh(practice)
    machine = practice.machine(host="127.91.0.7")
    machine.port = 2222
    machine.start()
    try:
        practice.configure([machine])
        wrong = practice.config.read_text().replace("port = 2222", "port = 2200")
        practice.config.write_text(wrong)
        clinic = practice.clinic()
        before = clinic.patient.nodes()[0].target.node_id

        outcomes, left = await repair(clinic)

        assert [(one.plan.fix, one.ending) for one in outcomes] == [("node.port", "repaired")]
        assert left == ()
        target = clinic.patient.nodes()[0].target
        assert (target.port, target.node_id) == (2222, before)
    finally:
        remove_machine(machine)


async def test_a_fix_that_does_not_help_is_taken_back(practice: Practice, machine: Machine) -> None:
    """A Match block stands against the drop-in: the check still fails, so the drop-in goes, and lines come back."""
    _fresh(practice)
    machine.sshd_lines += ["MaxStartups 9:90:9", f"Match User {ACCOUNT}", "    MaxSessions 0"]
    other = machine.etc / "ssh" / "sshd_config.d" / "50-cloud.conf"
    other.write_text("MaxStartups 8:90:8\n")
    machine.start()
    before = (machine.etc / "ssh" / "sshd_config").read_text()
    practice.configure([machine])

    outcomes, left = await repair(practice.clinic())

    assert [(one.plan.fix, one.ending) for one in outcomes] == [("node.harden", "not_helped")]
    assert [(one.check, one.cause) for one in left] == [("node.shell", "no_channel")]
    assert (machine.etc / "ssh" / "sshd_config").read_text() == before
    assert other.read_text() == "MaxStartups 8:90:8\n"
    assert not (machine.etc / "ssh" / "sshd_config.d" / "00-basilica.conf").exists()
