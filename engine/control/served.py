"""One console's connection as the server sees it: what it still has to be told, and whether it listens."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Mapping
from fcntl import ioctl
from termios import TIOCOUTQ

from engine.control.encoding import ViewEncoder, item_frames, log_part
from engine.control.frames import encode
from engine.control.ring import LogRing

LOGS_PER_BATCH = 500
WRITE_BUFFER_BYTES = 64 * 1024


class ServedClient:
    """The outgoing side of a connection.

    Nothing is queued per update: a set of touched ids and a place in the log ring are all that a slow reader costs.
    """

    def __init__(self, writer: asyncio.StreamWriter, *, actor: str, now: float, longest_look_s: float) -> None:
        self._writer = writer
        writer.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self.actor = actor
        self.role = ""
        self.watch_id: int | None = None
        self.requests: dict[int, asyncio.Task[None]] = {}
        self._wants_logs = False
        self._touched: set[tuple[str, str]] | None = None
        self._counters: dict[str, int] = {}
        self._log_seq = 0
        self._sent_bytes = 0
        self._read_bytes = 0
        self._looked_at = now
        self._longest_look_s = longest_look_s
        self._stalled_s = 0.0
        self._beat_at = now

    # --- sending --------------------------------------------------------------------------------------------------

    def send(self, frame: Mapping[str, object]) -> None:
        """Queue a small frame."""
        self.send_bytes(encode(frame))

    def send_bytes(self, data: bytes) -> None:
        """Queue an encoded frame."""
        if not self._writer.is_closing():
            self._sent_bytes += len(data)
            self._writer.write(data)

    def refuse(self, request_id: int | None, code: str, message: str, hint: str = "") -> None:
        """Say why something was not done."""
        self.send({"t": "error", "id": request_id, "code": code, "message": message, "hint": hint})

    async def drain(self) -> None:
        """Wait until the console has read most of what was sent; ends with ConnectionError when it is cut."""
        await self._writer.drain()

    def stalled_s(self, now: float) -> float:
        """How long sent bytes have been lying here or in the kernel while nothing of them was read.

        A console on a slow link that reads a little at a time is not stalled, however long the whole takes it; and a
        pause of the engine itself (a busy loop, a suspended machine) adds at most ``longest_look_s``.
        """
        unread = self._writer.transport.get_write_buffer_size() + self._unread_in_kernel()
        # The kernel counts more than the bytes that it holds, so this falls with every write and rises only when
        # something was read.
        read = self._sent_bytes - unread
        if unread == 0 or read > self._read_bytes:
            self._stalled_s = 0.0
        else:
            self._stalled_s += min(now - self._looked_at, self._longest_look_s)
        self._read_bytes = read
        self._looked_at = now
        return self._stalled_s

    def _unread_in_kernel(self) -> int:
        """What the console's side of the socket still holds: a little fits there for ever without anybody reading."""
        found = array("i", [0])
        try:
            ioctl(self._writer.get_extra_info("socket").fileno(), TIOCOUTQ, found)
        except (OSError, ValueError):
            return 0  # closed already
        return found[0]

    @property
    def is_blocked(self) -> bool:
        """Whether earlier bytes are still waiting; then nothing new is sent unasked."""
        return self._writer.transport.get_write_buffer_size() > 0

    def cut(self) -> None:
        """End the connection now, unsent bytes and all."""
        self._writer.transport.abort()

    async def hang_up(self) -> None:
        """End the connection after what was sent, if the console reads it soon."""
        try:
            self._writer.close()
            async with asyncio.timeout(1.0):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self.cut()

    # --- watching -------------------------------------------------------------------------------------------------

    def track(self, log_seq: int) -> None:
        """From now on remember what changes, so that a watch after a snapshot misses nothing."""
        if self._touched is None:
            self._touched = set()
            self._log_seq = log_seq

    def touch(self, touched: set[tuple[str, str]]) -> None:
        """Remember changes until the next batch; an id stands there once, however often it changed."""
        if self._touched is not None:
            self._touched |= touched

    def watch(self, request_id: int, *, logs: bool, after_seq: int | None) -> None:
        """Start sending batches; a console that says what it has seen of the log goes on from there."""
        self.watch_id = request_id
        self._wants_logs = logs
        if after_seq is not None:
            self._log_seq = after_seq

    def unwatch(self) -> None:
        """Stop sending batches."""
        if self.watch_id is not None:
            self.send({"t": "end", "id": self.watch_id})
            self.watch_id = None
            self._touched = None

    def send_batch(self, encoder: ViewEncoder, counters: Mapping[str, int], ring: LogRing) -> None:
        """Send everything that changed since the last batch, if anything did and the console keeps up."""
        if self.watch_id is None or self.is_blocked:
            return
        extra: dict[str, object] = {}
        parts = list(encoder.changes(self._touched or ()))
        self._touched = set()
        if counters != self._counters:
            self._counters = dict(counters)
            extra["counters"] = self._counters
        if self._wants_logs:
            # A ring that was started anew has lower numbers than the console has seen.
            self._log_seq = min(self._log_seq, ring.last_seq)
            records = ring.after(self._log_seq, LOGS_PER_BATCH)
            if records:
                if gap := records[0].seq - self._log_seq - 1:
                    extra["gap"] = gap
                self._log_seq = records[-1].seq
                parts += [log_part(record) for record in records]
        for frame in item_frames(self.watch_id, parts, extra):
            self.send_bytes(frame)

    def beat(self, now: float, wall: float, every_s: float) -> None:
        """Say that the engine lives, now and then."""
        if self.role and not self.is_blocked and now - self._beat_at >= every_s:
            self._beat_at = now
            self.send({"t": "beat", "at": wall})
