"""Whether the engine that was set up serves, and its last words: a process here, under systemd, in a container."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from pathlib import Path

from engine.config.check_common import split_address
from engine.control.client import ControlClient
from engine.control.paths import socket_to_call
from engine.deployment.files import UNIT
from engine.errors import BasilicaError
from engine.setup.answers import Answers

LOG_NAME = "engine.log"
ASK_S = 20.0
LAST_LINES = 2


async def is_serving(answers: Answers, kind: str = "") -> bool:
    """Whether the engine of this name answers, in the role that was set up, and its door or API accepts.

    ``kind`` compose: it is asked inside its container, which keeps its control socket to itself.
    """
    if kind == "compose":
        show = ("exec", "-T", answers.name, "basilica-tui", "--config", str(answers.config_path), "show", "services")
        answers_there = await asyncio.to_thread(_status, *compose(answers), *show) == 0
    else:
        answers_there = await _role(answers) == answers.role
    return answers_there and await _accepts(*door_of(answers))


def door_of(answers: Answers) -> tuple[str, int]:
    """Where callers from this host knock: at a miner's door, or a validator's REST API."""
    if not answers.is_validator:
        return "127.0.0.1", answers.port
    host, port = split_address(answers.api) or ("127.0.0.1", 8080)
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port


def compose(answers: Answers) -> tuple[str, ...]:
    """The beginning of every command about the container."""
    return ("docker", "compose", "-f", str(answers.base / "compose.yaml"))


def log_command(answers: Answers, kind: str) -> str:
    """What a person types to read the engine's log."""
    return " ".join(_log_words(answers, kind)) or f"tail {answers.data_dir / LOG_NAME}"


def last_words(answers: Answers, kind: str) -> str:
    """The newest lines of its log in one; says so where there is none."""
    words = _log_words(answers, kind)
    text = _output(*words, *_few(kind)) if words else _read(answers.data_dir / LOG_NAME)
    lines = [line for line in text.splitlines() if line.strip()]
    return " | ".join(line[-300:] for line in lines[-LAST_LINES:]) or "nothing was logged"


async def _role(answers: Answers) -> str:
    try:
        client = await ControlClient.connect(socket_to_call(answers.name), role="read-only", timeout_s=2.0)
    except BasilicaError:
        return ""
    try:
        return (await client.snapshot()).engine.role
    except BasilicaError:
        return ""
    finally:
        await client.close()


async def _accepts(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(2.0):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def _log_words(answers: Answers, kind: str) -> tuple[str, ...]:
    if kind == "compose":
        return (*compose(answers), "logs", answers.name)
    if kind in ("systemd", "user"):
        unit = UNIT.replace("@", f"@{answers.name}")
        return ("journalctl", *(["--user"] if kind == "user" else []), "--unit", unit)
    return ()


def _few(kind: str) -> tuple[str, ...]:
    if kind == "compose":
        return ("--tail", str(LAST_LINES), "--no-log-prefix")
    return (f"--lines={LAST_LINES}", "--output=cat", "--no-pager", "_COMM!=systemd")


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _status(*argv: str) -> int:
    try:
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=ASK_S, check=False
        ).returncode
    except (OSError, subprocess.TimeoutExpired):
        return -1


def _output(*argv: str) -> str:
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=ASK_S, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout or done.stderr
