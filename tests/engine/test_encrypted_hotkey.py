"""An engine with an encrypted hotkey at a real terminal: asked once, before anything runs, and never again."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import signal
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.identity.wallets import create_wallet
from tests.support.miner_subnet import NETUID, MinerSubnet, create_subnet

ROOT = Path(__file__).parents[2]
PASSWORD = "right horse 9"
PATIENCE_S = 120.0


class Terminal:
    """An engine that a person started in a terminal."""

    def __init__(self, config: Path) -> None:
        env = {name: value for name, value in os.environ.items() if name != "BASILICA_WALLET_PASSWORD"}
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execve(sys.executable, [sys.executable, "-m", "basilica_tui", "--daemon", "--config", str(config)], env)
        self.shown = ""
        self.status: int | None = None

    def wait_for(self, text: str, *, times: int = 1) -> None:
        """Until the terminal shows it so often."""
        end = time.monotonic() + PATIENCE_S
        while self.shown.count(text) < times:
            assert time.monotonic() < end and self._read(), f"{text!r} never came: {self.shown}"

    def wait_for_silence(self) -> None:
        """Until the terminal echoes nothing: what is typed before that is thrown away."""
        end = time.monotonic() + PATIENCE_S
        while termios.tcgetattr(self._fd)[3] & termios.ECHO:
            assert time.monotonic() < end, f"still echoing: {self.shown}"
            time.sleep(0.02)

    def type(self, keys: str) -> None:
        """As if typed."""
        os.write(self._fd, keys.encode())

    def end(self) -> int:
        """The exit status; what else the terminal shows is read meanwhile."""
        end = time.monotonic() + PATIENCE_S
        while self._read():
            assert time.monotonic() < end, f"it does not end: {self.shown}"
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def close(self) -> None:
        """Whatever happened."""
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)

    def _read(self) -> bool:
        """Something more, or nothing yet; False at the end."""
        if not select.select([self._fd], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # Linux says EIO when the last one on the other side has gone
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)


@pytest.fixture(scope="module")
def subnet(tmp_path_factory: pytest.TempPathFactory) -> MinerSubnet:
    """A miner without nodes whose hotkey is encrypted; its engine is not started yet."""
    root = tmp_path_factory.mktemp("s")
    made = create_subnet(root, [], bittensor={"wallet_name": "locked", "external_ip": "203.0.113.5"})
    wallet = create_wallet(root / "wallets", "locked", "default", password=PASSWORD)
    made.admin.register(NETUID, wallet.signer.hotkey, wallet.signer.hotkey, 0.0, False)
    made.miner = wallet
    return made


@pytest.fixture
def terminal(subnet: MinerSubnet) -> Iterator[Terminal]:
    """That engine, started in a terminal, at its question."""
    started = Terminal(subnet.config_path)
    started.wait_for("Password of ")
    started.wait_for_silence()
    yield started
    started.close()


@pytest.mark.parametrize(
    ("keys", "status", "said"),
    [
        ("\n", 1, ("is encrypted and no password was given", "set bittensor.password_file")),
        ("\x04", 1, ("is encrypted and no password was given", "set bittensor.password_file")),
        ("\x03", 130, ()),
    ],
    ids=["empty", "Ctrl-D", "Ctrl-C"],
)
def test_no_answer_ends_with_its_reason(terminal: Terminal, keys: str, status: int, said: tuple[str, ...]) -> None:
    """No password, and a person who changed their mind: nothing is started, and the reason is on screen."""
    terminal.type(keys)
    assert terminal.end() == status
    assert all(words in terminal.shown for words in said)
    assert "Traceback" not in terminal.shown


def test_a_wrong_one_may_be_typed_again_twice(terminal: Terminal) -> None:
    """Twice the question comes again and says why; the third wrong password ends with its reason, none is echoed."""
    for times in (1, 2):
        terminal.type("not this one\n")
        terminal.wait_for("That password does not open it. Password of ", times=times)
        terminal.wait_for_silence()
    terminal.type("not this one\n")
    assert terminal.end() == 1
    assert "the password does not open" in terminal.shown and "start again and type it once more" in terminal.shown
    assert "Traceback" not in terminal.shown and "not this one" not in terminal.shown


def test_the_right_one_is_asked_for_once_and_signs_for_the_chain_too(terminal: Terminal, subnet: MinerSubnet) -> None:
    """The unlocked hotkey publishes the axon without another question, which would stop the engine until answered."""
    terminal.type(f"{PASSWORD}\n")
    terminal.wait_for("All miner services started successfully")
    end = time.monotonic() + PATIENCE_S
    while not (calls := subnet.admin.calls()):
        assert time.monotonic() < end, terminal.shown
        time.sleep(0.1)
    assert {(one.call, one.signer, one.error) for one in calls} == {
        ("SubtensorModule.serve_axon", subnet.miner.signer.hotkey, "")
    }
    assert asyncio.run(subnet.snapshot()).views["engine"]  # it answers: nothing waits for the terminal
    terminal.type("\x03")
    assert terminal.end() == 0
    assert terminal.shown.lower().count("password") == 1 and PASSWORD not in terminal.shown
