"""The headless demo judges what it saw, and the real one sees the whole cycle."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engine.control.models import NodeView, SessionView, VerificationView
from engine.localnet.cast import PARTS
from engine.localnet.demo import Sighting, conclude, run_headless
from engine.localnet.files import private_directory
from engine.localnet.identities import ssh_key
from engine.localnet.pace import Pace
from engine.localnet.stand_in_node import StandInNode
from engine.localnet.subnet import Subnet, authorize

VALIDATORS_LINE = 'restrict,expiry-time="20990101Z" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB validator-5X grant=1 exp=1\n'


@pytest.fixture
def stopped(tmp_path: Path) -> Subnet:
    """A subnet of one node that has run and stopped, with only the baseline keys on its node."""
    subnet = Subnet(tmp_path, nodes=1)
    node = StandInNode(subnet.layout.node("node-1"))
    private_directory(node.authorized_keys.parent)
    lines = [ssh_key(subnet.layout.operator_key, "operator"), ssh_key(subnet.layout.miner_key, "miner")]
    node.authorized_keys.write_bytes(b"# kept by hand\n\n")
    authorize(node.authorized_keys, lines)
    subnet.nodes.append(node)
    return subnet


def whole_cycle() -> dict[str, Sighting]:
    miner = Sighting()
    miner.take(
        iter([NodeView("n", state="healthy"), *(SessionView(key, hotkey=key, authenticated_at=1.0) for key in "ab")]),
        {"authentications": 4, "sessions_opened": 2, "sessions_ended": 2},
    )
    validators = [Sighting(), Sighting()]
    for sighting in validators:
        sighting.take(iter([VerificationView("n", passed=2)]), {"verifications": 3, "verifications_failed": 1})
    return {"miner": miner, "validator-1": validators[0], "validator-2": validators[1]}


def test_a_whole_cycle_is_complete(stopped: Subnet) -> None:
    """The JSON holds the promised figures, and only passed verifications count."""
    result = conclude(stopped, whole_cycle())
    assert result.complete
    found = json.loads(result.to_json())
    assert found.pop("missing") == []
    assert found == {
        "nodes": {"healthy": 1},
        "authentications": 4,
        "sessions_opened": 2,
        "sessions_ended": 2,
        "verifications": 4,
        "validator_keys_left": 0,
        "complete": True,
    }
    assert result.to_text().endswith("complete")


@pytest.mark.parametrize("lacking", ["nodes", "authentication", "opened", "ended", "verification"])
def test_a_cycle_that_lacks_a_part_is_incomplete_and_says_which(stopped: Subnet, lacking: str) -> None:
    """Each part of the cycle is needed by itself."""
    seen = whole_cycle()
    match lacking:
        case "nodes":
            seen["miner"].nodes.clear()
        case "authentication":
            seen["miner"].authenticated.discard("b")
        case "verification":
            seen["validator-1"].verified.clear()
            seen["validator-2"].verified.clear()
        case _:
            seen["miner"].counters[f"sessions_{lacking}"] = 0
    result = conclude(stopped, seen)
    assert not result.complete
    assert len(result.missing) == 1


def test_a_key_that_is_left_is_counted(stopped: Subnet) -> None:
    """Every key besides the operator's and the miner's is one too many."""
    with stopped.nodes[0].authorized_keys.open("a") as file:
        file.write(VALIDATORS_LINE)
    result = conclude(stopped, whole_cycle())
    assert result.validator_keys_left == 1
    assert not result.complete


@pytest.mark.slow
async def test_the_real_demo_sees_the_whole_cycle(tmp_path: Path) -> None:
    """Engines, nodes, SSH and chain are real: access is given, used, ended on time, and nothing is left."""
    pace = replace(Pace.demo(), session_lifetime_s=5.0, verification_s=7.0, reconcile_s=1.0)
    result = await run_headless(8.0, tmp_path, nodes=2, pace=pace)
    assert result.missing == ()
    assert result.nodes == {"healthy": 2}


@pytest.mark.slow
@pytest.mark.timeout(500)
async def test_nodes_that_are_not_what_they_promise_are_caught(tmp_path: Path) -> None:
    """Liar, twins, the one that comes and goes and the slow one are caught by miner and validator; honest ones pass."""
    result = await run_headless(5.0, tmp_path, nodes=1, cast=PARTS, validators=1)
    assert result.missing == ()
    assert list(result.caught) == list(PARTS)
    assert all(said for words in result.caught.values() for said in words.values())


@pytest.mark.slow
async def test_localnet_up_serves_until_a_signal_and_leaves_no_engine(tmp_path: Path) -> None:
    """The command prints the document when everything serves, and SIGTERM ends it and its engines with status 0."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "basilica_tui", "localnet", "up", "--dir", str(tmp_path / "net"),
        "--nodes", "1", "--validators", "1", "--external-validators", "1", "--json",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        document = json.loads(await asyncio.wait_for(process.stdout.readline(), 120))
        assert document == json.loads((tmp_path / "net" / "localnet.json").read_text())
        assert len(engines_of(tmp_path / "net")) == 2
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert processes_of(tmp_path / "net") == []


def processes_of(directory: Path) -> list[int]:
    """Engines, and what they have started: a validator's REST API is a process of its own."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"LOCALNET_DIRECTORY={directory}".encode() in entry.read_bytes().split(b"\0"):
                found.append(int(entry.parent.name))
        except OSError:
            continue
    return [pid for pid in found if pid != os.getpid()]


def engines_of(directory: Path) -> set[bytes]:
    """The engines' command lines; what an engine has just forked still bears its parent's."""
    found = set()
    for pid in processes_of(directory):
        with contextlib.suppress(OSError):
            found.add(Path(f"/proc/{pid}/cmdline").read_bytes())
    return {line for line in found if b"--daemon" in line.split(b"\0")}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("flags", [("--headless", "--for", "600"), ("--cast", "none")], ids=["headless", "console"])
def test_a_demo_that_is_ended_while_it_starts_leaves_nothing(
    tmp_path: Path, flags: tuple[str, ...], number: signal.Signals
) -> None:
    """Ctrl-C, a closed terminal and a kill in the middle of the start: no process and none of its files stay."""
    process = subprocess.Popen(
        [sys.executable, "-m", "basilica_tui", "demo", *flags],
        env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: any(tmp_path.glob("basilica-demo-*/wallets/*")))
        process.send_signal(number)
        assert process.wait(120) != 0
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not processes_naming(str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_a_demo_whose_console_is_killed_leaves_no_files_either(tmp_path: Path) -> None:
    """The console may have to leave a dead terminal at once; the subnet, which ends with it, cleans up after both."""
    process = subprocess.Popen(
        [sys.executable, "-m", "basilica_tui", "demo", "--cast", "none"],
        env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: any(tmp_path.glob("basilica-demo-*/wallets/*")))
    finally:
        process.kill()
        process.wait()
    wait_until(lambda: not processes_naming(str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_a_subnet_ends_with_the_console_that_started_it(tmp_path: Path) -> None:
    """When the process that started a subnet is killed, the subnet and its engines end by themselves."""
    script = (
        "import subprocess, sys, time\n"
        "from engine.localnet.processes import end_with_parent\n"
        "subprocess.Popen([sys.executable, '-m', 'basilica_tui', 'localnet', 'up', '--dir', sys.argv[1]],"
        " start_new_session=True, preexec_fn=end_with_parent)\n"
        "time.sleep(600)\n"
    )
    described = tmp_path / "net" / "localnet.json"
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "net")])
    try:
        wait_until(described.exists)
        children = processes_naming(str(tmp_path / "net"))
        assert len(children) >= 4
    finally:
        parent.kill()
        parent.wait()

    wait_until(lambda: not processes_naming(str(tmp_path / "net")))


def processes_naming(text: str) -> set[int]:
    """Processes with this text in their command line."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in entry.read_bytes():
                found.add(int(entry.parent.name))
        except OSError:
            continue
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll for up to two minutes."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
