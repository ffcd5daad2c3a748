"""How far the way to a node is open: name, route, port, banner, host key, login. Nothing on the node is changed.

One login answers everything when all is well. Only after a failure is more asked, because newer sshd punishes
addresses that connect and leave (``PerSourcePenalties``).
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from typing import Literal

from engine.errors import (
    HostKeysUnusable,
    SshAuthFailed,
    SshBannerInvalid,
    SshBannerTimeout,
    SshFailure,
    SshHostKeyChanged,
    SshLoginEnded,
    SshLoginTimeout,
    SshRefused,
    SshResolveFailed,
    SshTimeout,
)
from engine.ssh.banner import BannerFacts, offered_methods, read_banner
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

Stop = Literal["", "key", "resolve", "route", "tcp", "banner", "protocol", "host_key", "auth", "login"]
_RESOLVE_S = 5.0


@dataclass(frozen=True, slots=True)
class WayFacts:
    """Where the way ends: ``stop`` is empty when the login stands. ``detail`` is a word within that step."""

    stop: Stop = ""
    detail: str = ""
    message: str = ""
    addresses: tuple[str, ...] = ()
    source: str = ""
    """This host's own address on the way there."""
    banner: BannerFacts = field(default_factory=BannerFacts)
    server_version: str = ""
    host_key: str = ""
    """Fingerprint that the node presented."""
    host_key_pinned: str = ""
    host_key_is_new: bool = False
    methods: tuple[str, ...] = ()
    """What the server offers this account, known after a refused key."""
    login_s: float = 0.0


async def probe_way(pool: NodePool, target: NodeTarget) -> WayFacts:
    """Walk until something is in the way; never raises for what a network does."""
    try:
        addresses = await _resolve(target)
    except SshResolveFailed as error:
        detail = "silent" if "does not answer" in error.message else "unknown"
        return WayFacts("resolve", detail, error.message)
    source, trouble = _route(addresses[0], target.port)
    if trouble:
        return WayFacts("route", "no_route", trouble, addresses)
    pool.resume(target)
    before = pool.clock.monotonic()
    pinned = ""
    try:
        pinned = pool.host_keys.pinned(target) or ""
        info = await pool.connect(target)
    except SshFailure as error:
        return await _after(pool, target, error, addresses, source, pinned)
    return WayFacts(
        addresses=addresses,
        source=source,
        banner=BannerFacts("ssh", info.server_version),
        server_version=info.server_version,
        host_key=info.host_key_fingerprint,
        host_key_pinned=pinned,
        host_key_is_new=not pinned,
        login_s=pool.clock.monotonic() - before,
    )


async def _after(
    pool: NodePool, target: NodeTarget, error: SshFailure, addresses: tuple[str, ...], source: str, pinned: str
) -> WayFacts:
    stop, detail = _step(error)
    banner, presented = BannerFacts(), ""
    methods: tuple[str, ...] = ()
    if stop == "banner":
        banner = await read_banner(target)
        if banner.kind == "ssh":
            stop, detail = "protocol", "old_protocol" if banner.text.startswith("SSH-1.") else "no_algorithms"
            if banner.text.startswith("SSH-1.99"):
                detail = "no_algorithms"
        elif banner.kind != "unreachable":
            detail = banner.kind
    elif stop == "auth":
        methods = await offered_methods(target)
    if isinstance(error, SshHostKeyChanged):
        presented, pinned = error.presented, error.pinned
    return WayFacts(
        stop,
        detail,
        error.message,
        addresses,
        source,
        banner,
        banner.text if banner.kind == "ssh" else "",
        presented,
        pinned,
        methods=methods,
    )


def _step(error: SshFailure) -> tuple[Stop, str]:
    """The first class that matches decides: banner timeouts are timeouts too."""
    steps: tuple[tuple[type[SshFailure], Stop, str], ...] = (
        (SshHostKeyChanged, "host_key", "changed"),
        (HostKeysUnusable, "host_key", "file"),
        (SshAuthFailed, "auth", "refused"),
        (SshResolveFailed, "resolve", "unknown"),
        (SshBannerTimeout, "banner", "silent"),
        (SshBannerInvalid, "banner", "closed"),
        (SshLoginTimeout, "login", "slow"),
        (SshLoginEnded, "login", "ended"),
        (SshTimeout, "tcp", "timeout"),
    )
    for kind, stop, detail in steps:
        if isinstance(error, kind):
            return stop, detail
    if isinstance(error, SshRefused):
        return "tcp", "refused" if "refuses connections" in error.message else "unreachable"
    return "login", "other"


async def _resolve(target: NodeTarget) -> tuple[str, ...]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_S):
            found = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise SshResolveFailed(f"the resolver does not answer for {target.host}") from None
    except (OSError, UnicodeError):
        raise SshResolveFailed(f"{target.host} has no address") from None
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def _route(address: str, port: int) -> tuple[str, str]:
    """Our own address towards there, or why there is no way; a datagram socket sends nothing on connect."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as trial:
        try:
            trial.connect((address, port))
            return str(trial.getsockname()[0]), ""
        except OSError as error:
            return "", f"no route to {address}: {error.strerror or error}"
