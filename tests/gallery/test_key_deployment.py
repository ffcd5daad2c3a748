"""``keys deploy`` on machines with accounts and PAM: a password that is right, one that is wrong, and an agent."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.ssh.keys import ClientKey
from tests.gallery.machine import ACCOUNT, Machine, build_machine, hash_of, remove_machine, why_no_machines

pytestmark = [
    pytest.mark.sshd,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(why_no_machines()), reason=why_no_machines()),
]
PASSWORD = "correct horse"
PROMPT = b"never stored): "


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    """Two machines whose account has a password, asked for by PAM."""
    found = [build_machine("") for _ in range(2)]
    for machine in found:
        machine.keys.unlink()
        machine.edit("shadow", f"{ACCOUNT}:*:", f"{ACCOUNT}:{hash_of(PASSWORD)}:")
        machine.sshd_lines += ["UsePAM yes", "PasswordAuthentication yes"]
        machine.start()
    yield found
    for machine in found:
        remove_machine(machine)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The miner's key file."""
    ClientKey.generate("miner").save(tmp_path / "miner_node_key")
    return tmp_path / "miner_node_key"


def on_a_terminal(words: list[str], answer: str, home: Path) -> tuple[int, str, int]:
    """Status, everything that was shown, and how often the password was asked for."""
    pid, terminal = pty.fork()
    if pid == 0:
        environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "TERM": "dumb"}
        os.chdir(Path(__file__).parents[2])
        os.execve(sys.executable, [sys.executable, "-m", "basilica_tui", *words], environment)
    shown, asked, deadline = b"", 0, time.monotonic() + 150
    while time.monotonic() < deadline:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # the other side is closed
            break
        if not chunk:
            break
        shown += chunk
        if shown.count(PROMPT) > asked:
            asked = shown.count(PROMPT)
            os.write(terminal, answer.encode() + b"\n")
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), shown.decode(errors="replace"), asked


def addresses(machines: list[Machine]) -> list[str]:
    """As a person writes them."""
    return [f"{ACCOUNT}@{one.host}:{one.port}" for one in machines]


def test_the_right_password_opens_both_nodes_with_one_question(machines: list[Machine], key: Path) -> None:
    """Asked once for both; the key has the modes that sshd wants; the password is shown and kept nowhere."""
    home = key.parent
    status, shown, asked = on_a_terminal(["keys", "deploy", *addresses(machines), "--key", str(key)], PASSWORD, home)

    assert (status, asked) == (0, 1), shown
    line = ClientKey.from_file(key).public_line
    assert all(machine.keys.read_text() == line + "\n" for machine in machines)
    assert all(machine.keys.stat().st_mode & 0o777 == 0o600 for machine in machines)
    assert all("Accepted password for basilica" in machine.log() for machine in machines)
    assert PASSWORD not in shown
    kept = [path for path in home.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert kept == []


def test_a_wrong_password_is_asked_for_once_and_tried_once(machines: list[Machine], key: Path) -> None:
    """Each node refuses it once, nothing is written, and the sentence says what to look at."""
    status, shown, asked = on_a_terminal(
        ["keys", "deploy", *addresses(machines), "--key", str(key)], "wrong", key.parent
    )

    assert (status, asked) == (1, 1), shown
    assert shown.count("refuses the password") == 2
    assert "PasswordAuthentication" in shown
    assert [machine.log().count("Failed password for basilica") for machine in machines] == [1, 1]
    assert not any(machine.keys.exists() for machine in machines)


def test_the_agents_key_is_a_way_in(machines: list[Machine], key: Path) -> None:
    """A key that is encrypted on disk and open in the agent puts the miner's key in place, without a question."""
    theirs = ClientKey.generate("operator")
    theirs.save(key.parent / "operator")
    machines[0].authorize(theirs.public_line + "\n")
    agent = key.parent / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(agent)], stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 100
            while not agent.exists():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            environment = {"HOME": str(key.parent), "PATH": "/usr/bin:/bin", "SSH_AUTH_SOCK": str(agent)}
            subprocess.run(["ssh-add", str(key.parent / "operator")], env=environment, check=True, capture_output=True)
            (key.parent / "operator").unlink()
            done = subprocess.run(
                [sys.executable, "-m", "basilica_tui", "keys", "deploy", addresses(machines)[0], "--key", str(key)],
                capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=environment,
                cwd=Path(__file__).parents[2],
            )  # fmt: skip
        finally:
            process.kill()

    assert done.returncode == 0, done.stdout + done.stderr
    assert ClientKey.from_file(key).public_line in machines[0].keys.read_text()
    assert theirs.public_line in machines[0].keys.read_text()
