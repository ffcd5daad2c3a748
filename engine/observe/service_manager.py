"""What the engine tells the service manager that started it: ready, status, still alive, reloading, stopping.

The protocol is one datagram of ``NAME=value`` lines to the Unix socket in ``NOTIFY_SOCKET`` (sd_notify(3)). It is
spoken here directly: the package for it is without a release since 2017, and systemd's own needs a C library.
Without that variable everything here does nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Mapping

import structlog

from engine.control.state import LiveState
from engine.events import ConfigRefused, ConfigReloaded, EngineStopping, Event

log = structlog.get_logger()
STATUS_EVERY_S = 5.0
"""How often the status line is looked at; it is sent when it changed."""


class NotifySocket:
    """The datagram socket of a service manager, or of nobody."""

    def __init__(self, address: str) -> None:
        """``address`` as in ``NOTIFY_SOCKET``: a path, or ``@name`` in the abstract namespace, or empty."""
        self._address = "\0" + address[1:] if address.startswith("@") else address

    @property
    def is_there(self) -> bool:
        """Whether anybody listens at all."""
        return bool(self._address)

    def send(self, **fields: str) -> bool:
        """Send the fields as one datagram, without waiting; False when nobody took it."""
        if not self._address:
            return False
        text = "\n".join(f"{name}={value}" for name, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.connect(self._address)
                sender.send(text.encode())
        except OSError:  # a full or vanished socket must not end the engine; the watchdog decides
            return False
        return True


def watchdog_interval_s(environment: Mapping[str, str], pid: int) -> float | None:
    """How often to say that we live: half of what the manager allows; None when it does not ask this process."""
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    try:
        allowed_s = int(environment.get("WATCHDOG_USEC", "")) / 1e6
    except ValueError:
        return None
    return allowed_s / 2 if allowed_s > 0 else None


def status_line(state: LiveState) -> str:
    """The engine's state in one short line, for ``systemctl status``."""
    engine = state.engine
    if engine.role == "validator":
        parts = [
            f"{sum(miner.is_called for miner in state.miners.values())} miners",
            f"{len(state.verifications)} nodes verified",
        ]
    else:
        healthy = sum(node.state == "healthy" for node in state.nodes.values())
        active = sum(session.state == "active" for session in state.sessions.values())
        parts = [f"{healthy} of {len(state.nodes)} nodes healthy", f"{active} validators with access"]
    parts.append("chain unavailable" if engine.chain_error else f"block {engine.block}" if engine.block else "no block")
    alerts = sum(alert.active and alert.level == "error" for alert in state.alerts.values())
    if alerts:
        parts.append(f"{alerts} errors active")
    return f"{engine.role} on {engine.network}/{engine.netuid}: " + ", ".join(parts)


class ServiceManager:
    """Keeps the service manager informed. ``listen`` is subscribed to the event bus, ``run`` is a service.

    WATCHDOG=1 is sent from the engine's own loop, so an engine whose loop stands still is restarted.
    """

    def __init__(self, state: LiveState, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        self._state = state
        self._socket = NotifySocket(environment.get("NOTIFY_SOCKET", ""))
        self._watchdog_s = watchdog_interval_s(environment, os.getpid())
        self._said = ""

    @property
    def is_there(self) -> bool:
        """Whether a service manager wants to hear from us at all."""
        return self._socket.is_there

    def listen(self, event: Event) -> None:
        """Tell what an event means to the manager."""
        match event:
            case ConfigReloaded() | ConfigRefused():
                self._socket.send(READY="1")
            case EngineStopping():
                self._socket.send(STOPPING="1", STATUS=f"stopping: {event.reason}"[:200])
            case _:
                pass

    def reloading(self) -> None:
        """The configuration is about to be read again; the event that says how it went ends this."""
        self._socket.send(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))

    async def run(self) -> None:
        """Say that the engine serves, then that it lives, until cancelled; a service that starts last."""
        self._said = status_line(self._state)
        if not self._socket.send(READY="1", STATUS=self._said):
            log.warning("service_manager.silent", hint="NOTIFY_SOCKET is set, but nobody listens there")
        pause_s = STATUS_EVERY_S if self._watchdog_s is None else min(STATUS_EVERY_S, self._watchdog_s)
        while True:
            if self._watchdog_s is not None:
                self._socket.send(WATCHDOG="1")
            status = status_line(self._state)
            if status != self._said and self._socket.send(STATUS=status):
                self._said = status
            # Real time, not the injected clock: the manager counts in it.
            await asyncio.sleep(pause_s)
