"""One channel of a stand-in node: a real ``/bin/sh -c`` in its own process group, its pipes pumped to the client."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncssh

_CHUNK = 64 * 1024
_STDIN_HIGH = 4 * _CHUNK
_SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")


@dataclass(frozen=True, slots=True)
class Shell:
    """What every command of one login gets. ``forced`` is the line's ``command=``."""

    home: Path
    environment: Mapping[str, str]
    forced: str | None
    adopt: Callable[[asyncio.subprocess.Process], None]
    spawn: Callable[[asyncio.Task[None]], None]


class StandInSession(asyncssh.SSHServerSession[bytes]):
    """Runs one command. Both pipes are read to their end before the exit status is sent.

    As with sshd without a pty, a client that goes away only closes the pipes; the command may go on until the
    node stops.
    """

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._command: str | None = None
        self._chan: asyncssh.SSHServerChannel[bytes] | None = None
        self._stdin: asyncio.Queue[bytes] = asyncio.Queue()
        self._stdin_size = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = False
        self._discards_input = False
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._chan = chan

    def exec_requested(self, command: str) -> bool:
        self._command = command
        return True

    def shell_requested(self) -> bool:
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        server = next((path for path in _SFTP_SERVERS if Path(path).exists()), None)
        self._command = server
        return subsystem == "sftp" and server is not None

    def session_started(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._shell.spawn(self._task)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if self._discards_input:
            return
        self._stdin.put_nowait(data)
        self._stdin_size += len(data)
        if self._stdin_size > _STDIN_HIGH and self._chan is not None:
            self._chan.pause_reading()

    def eof_received(self) -> bool:
        self._stdin.put_nowait(b"")
        return True

    def signal_received(self, signal: str) -> None:
        number = _signal_number(signal)
        if self._process is not None and number is not None:
            signal_group(self._process, number)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        assert self._chan is not None
        try:
            process = self._process = await self._start()
        except OSError as problem:
            self._chan.write_stderr(f"stand-in node: {problem}\n".encode())
            self._chan.exit(126)
            return
        self._shell.adopt(process)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        feeder = asyncio.create_task(self._feed(process.stdin))
        try:
            await asyncio.gather(
                self._pump(process.stdout, self._chan.write), self._pump(process.stderr, self._chan.write_stderr)
            )
            status = await process.wait()
        finally:
            feeder.cancel()
            self._discard_input()
            _close_pipes(process)
        if status < 0:
            self._chan.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
        else:
            self._chan.exit(status)

    async def _start(self) -> asyncio.subprocess.Process:
        command, environment = self._command, dict(self._shell.environment)
        if self._shell.forced is not None:
            if command is not None:
                environment["SSH_ORIGINAL_COMMAND"] = command
            command = self._shell.forced
        arguments = ("/bin/sh",) if command is None else ("/bin/sh", "-c", command)
        return await asyncio.create_subprocess_exec(
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self._shell.home,
            env=environment,
            start_new_session=True,
            limit=_CHUNK,
        )

    async def _feed(self, stdin: asyncio.StreamWriter) -> None:
        """The client's input into the command; what a command does not read is thrown away, as a pipe does."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while data := await self._stdin.get():
                self._stdin_size -= len(data)
                stdin.write(data)
                await stdin.drain()
                self._resume_reading()
        stdin.close()
        self._discard_input()

    def _discard_input(self) -> None:
        """A channel that stays paused would never see its close, so what comes from now on is dropped."""
        self._discards_input = True
        self._stdin_size = 0
        self._resume_reading()

    def _resume_reading(self) -> None:
        if self._stdin_size <= _CHUNK and self._chan is not None and not self._gone:
            self._chan.resume_reading()

    async def _pump(self, source: asyncio.StreamReader, write: Callable[[bytes], None]) -> None:
        with contextlib.suppress(BrokenPipeError):  # the client closed the channel; connection_lost follows
            while data := await source.read(_CHUNK):
                await self._writable.wait()
                write(data)


def _signal_number(name: str) -> int | None:
    found = signal.__dict__.get(f"SIG{name}")
    return int(found) if isinstance(found, signal.Signals) else None


def signal_group(process: asyncio.subprocess.Process, number: int) -> None:
    """Send a signal to the command and what it started, as long as it has not been waited for."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _close_pipes(process: asyncio.subprocess.Process) -> None:
    """Close our ends, so that an abandoned command gets SIGPIPE instead of filling buffers for ever."""
    transport = process._transport  # type: ignore[attr-defined]  # asyncio offers no public way to close the readers
    for number in (0, 1, 2):
        pipe = transport.get_pipe_transport(number)
        if pipe is not None:
            pipe.close()
