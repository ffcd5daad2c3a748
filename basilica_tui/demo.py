"""``basilica-tui demo``: a subnet as a child process, and this terminal's console attached to its miner."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from basilica_tui.run import run_console
from engine.errors import LocalnetFailed
from engine.localnet.processes import end_with_parent

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 30.0


def run_demo(
    directory: Path | None, *, nodes: int, cast: Sequence[str] = (), attach: str = "miner", theme: str | None = None
) -> int:
    """Start the subnet, attach until the operator leaves, stop it again; returns the console's exit code.

    ``cast`` are parts of ``engine.localnet.cast``; ``attach`` says whose console: the miner's or the first validator's.

    Without a directory the subnet's files live in a temporary one that goes with it, unless it never served: then its
    log is what the operator is sent to. Raises LocalnetFailed.
    """
    home = directory or Path(tempfile.mkdtemp(prefix="basilica-demo-"))
    log = home / "demo.log"
    home.mkdir(parents=True, exist_ok=True)
    sys.stderr.write(f"starting a subnet with {nodes} nodes, 2 validators and 1 miner on this machine ...\n")
    if cast:
        sys.stderr.write(f"beside them nodes that are not what they promise: {', '.join(cast)}\n")
    with log.open("wb") as output:
        subnet = subprocess.Popen(
            [
                *(sys.executable, "-m", "basilica_tui", "localnet", "up", "--dir", str(home)),
                *("--nodes", str(nodes), "--validators", "2", "--assignment", "open", "--pace", "demo"),
                *("--cast", ",".join(cast) or "none"),
                *(() if directory is not None else ("--remove",)),  # it outlives a console that had to leave at once
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # a ctrl-c in the console must not reach the engines
            preexec_fn=end_with_parent,  # noqa: PLW1509 - one call into libc, and no thread runs yet
        )
    is_kept = directory is not None
    for number in (signal.SIGTERM, signal.SIGHUP):  # until the console runs and has its own, and after it
        signal.signal(number, _leave)
    try:
        return run_console(_wait_for_engine(subnet, home, log, attach), theme=theme)
    except LocalnetFailed:
        is_kept = True
        raise
    finally:
        with contextlib.suppress(OSError):  # the terminal may be gone
            sys.stderr.write("stopping the subnet ...\n")
        _stop(subnet)
        if not is_kept:
            shutil.rmtree(home, ignore_errors=True)


def _leave(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)  # through every finally: a killed demo would leave its files


def _wait_for_engine(subnet: subprocess.Popen[bytes], home: Path, log: Path, role: str) -> Path:
    described = home / "localnet.json"
    described.unlink(missing_ok=True)
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if subnet.poll() is not None:
            last = log.read_text(errors="replace").strip().splitlines()[-5:]
            raise LocalnetFailed("the subnet did not start: " + " / ".join(last), hint=f"more in {log}")
        if described.exists():
            document = json.loads(described.read_text())
            engine = document["miner"] if role == "miner" else document["validators"][0]
            return Path(engine["socket"])
        time.sleep(0.1)
    raise LocalnetFailed(f"the subnet did not serve within {START_TIMEOUT_S:g} s", hint=f"look into {log}")


def _stop(subnet: subprocess.Popen[bytes]) -> None:
    if subnet.poll() is not None:
        return
    subnet.send_signal(signal.SIGTERM)
    try:
        subnet.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        subnet.kill()
        subnet.wait()
