"""Engines as child processes: started in their own process group, watched, and ended without leaving anything."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from engine.control.client import ControlClient, Snapshot
from engine.errors import BasilicaError, LocalnetFailed
from engine.localnet.layout import EngineFiles
from engine.localnet.ports import HOST
from engine.localnet.processes import end_marked, end_with_parent

MARKER = "LOCALNET_DIRECTORY"
"""In the environment of every engine: the directory that it belongs to."""

EngineCommand = Callable[[Path], Sequence[str]]
Probe = Callable[[EngineFiles], Awaitable[bool]]


def daemon_command(config: Path) -> Sequence[str]:
    """How an engine is started from a configuration file."""
    return (sys.executable, "-m", "basilica_tui", "--daemon", "--config", str(config))


async def is_serving(files: EngineFiles) -> bool:
    """Whether every listener accepts and the engine has settled: see ``has_settled``."""
    try:
        client = await ControlClient.connect(files.socket, role="read-only", timeout_s=2.0)
        try:
            snapshot = await client.snapshot()
        finally:
            await client.close()
    except BasilicaError:
        return False
    return has_settled(snapshot) and all([await _accepts(port) for port in files.listeners])


def has_settled(snapshot: Snapshot) -> bool:
    """Whether a caller gets the answer that it will get later.

    A miner has its axon on chain, has chosen whom it serves, and has enrolled every node, so that no key file changes
    any more without a validator's visit.
    """
    engine = snapshot.engine
    if engine.role != "miner":
        return bool(engine.role)
    is_published = bool(engine.axon_advertised) and engine.axon_on_chain == engine.axon_advertised
    return is_published and bool(engine.strategy) and all(n.expiry_enforced for n in snapshot.nodes.values())


async def _accepts(port: int) -> bool:
    try:
        async with asyncio.timeout(2.0):
            _, writer = await asyncio.open_connection(HOST, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


class EngineProcess:
    """One engine of ours."""

    def __init__(
        self, files: EngineFiles, *, command: EngineCommand = daemon_command, probe: Probe = is_serving
    ) -> None:
        self.files = files
        self._command = command
        self._probe = probe
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Process id, while it has been started and not stopped."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start it; its output is appended to its log file."""
        self.files.log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.files.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command(self.files.config),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(self.files.config.parent),
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    async def wait_serving(self, timeout_s: float) -> None:
        """Return when it serves. Raises LocalnetFailed when it ends before or takes too long."""
        assert self._process is not None
        try:
            async with asyncio.timeout(timeout_s):
                while self._process.returncode is None:
                    if await self._probe(self.files):
                        return
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise self._failure(f"does not serve after {timeout_s:.0f} s") from None
        raise self._failure(f"ended with status {self._process.returncode} before it served")

    async def wait_ended(self) -> int:
        """Its exit status, when it has one."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self, patience_s: float) -> None:
        """SIGTERM, and SIGKILL to its process group when it is not gone by then."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await process.wait()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        self._process = None

    def _failure(self, what: str) -> LocalnetFailed:
        lines = self.files.log.read_text(errors="replace").splitlines()[-3:] if self.files.log.exists() else []
        said = f": {' | '.join(line[-300:] for line in lines)}" if lines else ""
        return LocalnetFailed(f"engine {self.files.name} {what}{said}", hint=f"see {self.files.log}")


def _environment(home: Path) -> dict[str, str]:
    """Ours without the variables that would override keys of every engine's configuration, plus the mark."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BASILICA_", "BASILCA_"))}
    return kept | {MARKER: str(home)}


def end_orphans(directory: Path) -> int:
    """Kill engines of this directory that outlived a localnet which was killed itself; returns how many.

    Only for the holder of the directory's lock: nobody else's engines can carry the mark then.
    """
    return end_marked(MARKER, str(directory))
