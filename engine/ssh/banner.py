"""What a port says before anybody logs in, and which ways in it offers to an account."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Literal

import asyncssh

from engine.errors import SshFailure
from engine.ssh import failures
from engine.ssh.login import connect_tcp
from engine.ssh.target import NodeTarget

BannerKind = Literal["", "ssh", "silent", "closed", "max_startups", "penalty", "other", "unreachable"]
_LIMIT_BYTES = 4096
_PENALTY_WORDS = ("not allowed at this time",)


@dataclass(frozen=True, slots=True)
class BannerFacts:
    """The first line that a port sent, and what that makes it."""

    kind: BannerKind = ""
    text: str = ""


async def read_banner(target: NodeTarget, *, timeout_s: float = 5.0) -> BannerFacts:
    """Connect and read the first line; never raises for what a network does."""
    try:
        sock = await connect_tcp(target, timeout_s)
    except SshFailure as error:
        return BannerFacts("unreachable", error.message)
    reader, writer = await asyncio.open_connection(sock=sock, limit=_LIMIT_BYTES)
    said = b""
    try:
        async with asyncio.timeout(timeout_s):
            while len(said) < _LIMIT_BYTES and not _has_banner(said):
                block = await reader.read(_LIMIT_BYTES)
                if not block:
                    break
                said += block
    except TimeoutError:
        return BannerFacts("other" if said else "silent", failures.plain(said))
    except OSError:
        pass
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await writer.wait_closed()
    return judge_banner(said)


def judge_banner(said: bytes) -> BannerFacts:
    """What the first bytes of a server mean. RFC 4253 allows lines before the one that begins with ``SSH-``."""
    line = next((one for one in said.splitlines() if one.startswith(b"SSH-")), b"")
    if line:
        return BannerFacts("ssh", failures.plain(line))
    text = failures.plain(said)
    lower = text.lower()
    if "exceeded maxstartups" in lower:
        return BannerFacts("max_startups", text)
    if any(words in lower for words in _PENALTY_WORDS):
        return BannerFacts("penalty", text)
    return BannerFacts("other" if text else "closed", text)


async def offered_methods(target: NodeTarget, *, timeout_s: float = 5.0) -> tuple[str, ...]:
    """The authentication methods that the server offers this account; empty when it cannot be asked."""
    try:
        sock = await connect_tcp(target, timeout_s)
    except SshFailure:
        return ()
    try:
        async with asyncio.timeout(timeout_s):
            found = await asyncssh.get_server_auth_methods(
                target.host, target.port, username=target.username, sock=sock, config=None
            )
    except TimeoutError:
        return ()
    except Exception:  # noqa: BLE001 - a hostile peer reaches many parsers; "not known" is the answer to all of them
        return ()
    finally:
        sock.close()
    return tuple(failures.plain(str(method), 40) for method in list(found)[:16])


def _has_banner(said: bytes) -> bool:
    return any(line.startswith(b"SSH-") and line.endswith(b"\n") for line in said.splitlines(keepends=True))
