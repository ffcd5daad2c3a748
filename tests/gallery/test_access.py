"""Broken access: grants of a running engine and the key files of its nodes disagree; the doctor says how."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import asyncssh
import pytest

from engine.clock import SystemClock
from engine.diagnostics.clinic import Clinic
from engine.diagnostics.model import Scope
from engine.localnet import stand_in_node
from engine.ssh.keys import ClientKey
from tests.gallery.clinic import Practice, examine, repair
from tests.support.miner_subnet import MinerSubnet, create_subnet, ssh_command
from tests.support.nursery import Nursery
from tests.support.sshd import NodeSshd

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(300)]
ACCESS = frozenset({Scope.ACCESS})
MARK = "validator-5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY grant=0a1b2c3d4e5f exp=1999999999"
RARELY = {"reconcile_interval": 3600, "session_wrapper": "all"}


@pytest.fixture
def node(sshd_nodes: Callable[..., NodeSshd]) -> NodeSshd:
    """A real sshd."""
    return sshd_nodes()


@pytest.fixture
def subnet(node: NodeSshd, tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Iterator[MinerSubnet]:
    """A miner that visits its node only when it is asked, with one validator let in."""
    made = create_subnet(
        tmp_path_factory.mktemp("s"),
        [node],
        access=dict(RARELY),
        alerts={"node_disk_min_gb": 0.05},
        node_management={"health_check_interval": 3600},
    )
    made.nursery = nursery
    made.start()
    made.settle()
    asyncio.run(made.discover(made.validators[0]))
    yield made
    made.kill()


def clinic(subnet: MinerSubnet) -> Clinic:
    """The doctor, with the running engine's verbs."""

    async def act(verb: str, args: Mapping[str, object]) -> object:
        return await subnet.act(verb, **args)

    return Clinic(subnet.config_path, SystemClock(), act=act)


def look(subnet: MinerSubnet) -> list[tuple[str, str, str]]:
    """Check, cause and first fix of every finding."""
    found = asyncio.run(examine(clinic(subnet), ACCESS))
    return [(one.check, one.cause, "".join(one.fixes[:1])) for one in found]


def mend(subnet: MinerSubnet) -> tuple[list[str], list[str]]:
    """Endings of the fixes, and what is left."""
    outcomes, left = asyncio.run(repair(clinic(subnet), ACCESS))
    return [one.ending for one in outcomes], [one.check for one in left]


def stray(comment: str) -> str:
    """A key line that nobody knows."""
    words = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode().split()
    return f"{words[0]} {words[1]} {comment}\n"


def test_healthy_access_has_no_findings(subnet: MinerSubnet) -> None:
    """A grant whose key is in place, and the operator's own line: nothing to say, and expiry was proved by a login."""
    assert look(subnet) == []
    report = asyncio.run(clinic(subnet).examine(ACCESS))
    (expiry,) = [one for one in report.results if one.check == "access.expiry"]
    assert "proved by a login" in expiry.evidence[0]


def test_a_validators_key_was_taken_out(subnet: MinerSubnet, node: NodeSshd) -> None:
    """Somebody edited the file: the grant's line is missing, and the engine puts it back."""
    kept = [line for line in node.keys().splitlines(True) if b" grant=" not in line]
    assert len(kept) < len(node.keys().splitlines())
    node.authorize(b"".join(kept))

    assert look(subnet) == [("access.keys", "missing", "access.reconcile")]
    assert mend(subnet) == (["repaired"], [])
    assert b" grant=" in bytes(node.keys())


def test_a_line_stands_after_its_access_is_over(subnet: MinerSubnet, node: NodeSshd) -> None:
    """The records say that it ended, the file still has it: the engine takes it out."""
    end_grants(subnet)

    assert look(subnet) == [("access.keys", "not_removed", "access.reconcile")]
    assert mend(subnet) == (["repaired"], [])
    assert b" grant=" not in bytes(node.keys())


def test_somebody_is_inside_whose_access_is_over(subnet: MinerSubnet, node: NodeSshd) -> None:
    """A session that outlives its grant is named beside the line, and ended by the same fix."""
    validator = subnet.validators[0]
    with subprocess.Popen(ssh_command(node, validator.key_path, "echo in; sleep 300"), stdout=subprocess.PIPE) as guest:
        assert guest.stdout is not None
        assert guest.stdout.readline() == b"in\n"
        end_grants(subnet)
        try:
            assert look(subnet) == [
                ("access.keys", "not_removed", "access.reconcile"),
                ("access.sessions", "outlived", "access.reconcile"),
            ]
            endings, left = mend(subnet)
        finally:
            guest.kill()
    assert (endings[0], left) == ("repaired", [])


@pytest.mark.parametrize(
    ("comment", "cause"),
    [("a colleague", "stray"), (MARK, "orphan")],
    ids=["nobody's", "marked like a grant"],
)
def test_a_stray_key(subnet: MinerSubnet, node: NodeSshd, comment: str, cause: str) -> None:
    """A line that nobody answers for is named and taken out; all others stay byte for byte."""
    before = node.keys()
    node.authorize(before + stray(comment).encode())

    assert look(subnet) == [("access.strays", cause, "access.remove_strays")]
    assert mend(subnet) == (["repaired"], [])
    assert node.keys() == before


def test_a_node_that_lets_expired_keys_in(subnet: MinerSubnet) -> None:
    """What the canary showed at the enrolment is believed more than the version; no OpenSSH does it, so it is
    written into the records."""
    with contextlib.closing(sqlite3.connect(subnet.root / "data" / "miner.db")) as connection, connection:
        changed = connection.execute(
            "UPDATE engine_keyvalue SET value = replace(value, '\"proved\"', '\"not_enforced\"') "
            "WHERE key LIKE 'access.enrolment.%'"
        )
        assert changed.rowcount == 1
    assert look(subnet) == [("access.expiry", "not_enforced", "")]


async def test_an_sshd_without_expiry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An OpenSSH before 7.7, by its banner on a stand-in: keys end only when they are removed, which is a warning."""
    monkeypatch.setattr(stand_in_node, "SERVER_VERSION", "OpenSSH_7.4")
    practice = Practice.open(tmp_path)
    node = stand_in_node.StandInNode(tmp_path / "node")
    await node.start()
    try:
        node.authorized_keys.write_text(practice.key.public_line + "\n")
        practice.configure([node])  # type: ignore[list-item]  # host and port are all that is asked of it
        found = await examine(practice.clinic(admin=""), ACCESS)
    finally:
        await node.stop()
    assert [(one.check, one.cause) for one in found] == [("access.expiry", "old_sshd")]


def test_the_miners_own_key_is_rotated_by_command(subnet: MinerSubnet, node: NodeSshd) -> None:
    """``keys rotate`` asks first; with --yes the node gets a new key and loses the old one, and all others stay."""
    key = subnet.root / "node_key"
    old, before = ClientKey.from_file(key), node.keys()
    words = [sys.executable, "-m", "basilica_tui", "keys", "rotate", "--socket", str(subnet.socket)]
    unasked = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert (unasked.returncode, ClientKey.from_file(key).fingerprint) == (1, old.fingerprint)

    done = subprocess.run([*words, "--yes", "--json"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    new = ClientKey.from_file(key)
    assert json.loads(done.stdout)["fingerprint"] == new.fingerprint != old.fingerprint
    lines = node.keys().decode()
    assert (new.public_line.split()[1] in lines, old.public_line.split()[1] in lines) == (True, False)
    others = {line for line in before.decode().splitlines() if old.public_line.split()[1] not in line}
    assert others <= set(lines.splitlines())


def end_grants(subnet: MinerSubnet) -> None:
    """Every open grant ended ten minutes ago."""
    with contextlib.closing(sqlite3.connect(subnet.root / "data" / "miner.db")) as connection, connection:
        changed = connection.execute(
            "UPDATE engine_grants SET ended_at = ?, end_reason = 'revoked' WHERE removed_at IS NULL",
            (time.time() - 600,),
        )
        assert changed.rowcount >= 1
