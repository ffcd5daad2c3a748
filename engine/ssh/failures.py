"""What asyncssh, sockets and timers raise, in the engine's own words: the only place that maps one to the other."""

from __future__ import annotations

import enum
import errno
import socket

import asyncssh

from engine.errors import (
    SshAuthFailed,
    SshBannerInvalid,
    SshBannerTimeout,
    SshChannelFailed,
    SshChannelTimeout,
    SshCommandTimeout,
    SshFailure,
    SshLoginEnded,
    SshLoginTimeout,
    SshOutcomeUnknown,
    SshOutputTooLarge,
    SshRefused,
    SshResolveFailed,
    SshTimeout,
)
from engine.ssh.target import NodeTarget

BUSY_HINT = "sshd may be limiting logins (MaxStartups, PerSourcePenalties) or may not be an SSH server; see its log"
_TOO_MANY_FAILURES = 2  # SSH_DISCONNECT_PROTOCOL_ERROR, which OpenSSH sends for "Too many authentication failures"


class Phase(enum.Enum):
    """How far a login got."""

    BANNER = "banner"
    HANDSHAKE = "handshake"
    AUTH = "auth"


def plain(text: str | bytes, limit: int = 200) -> str:
    """Text from a node made safe to show: printable, one line, short."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    clean = "".join(char if char.isprintable() else " " for char in text[: limit * 4])
    clean = " ".join(clean.split())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def resolve_failed(target: NodeTarget, error: OSError) -> SshFailure:
    """The name has no address, or the resolver does not answer."""
    reason = "no such name" if isinstance(error, socket.gaierror) else str(error)
    return SshResolveFailed(f"{target.host} does not resolve: {reason}", hint="check the host name and DNS")


def tcp_failed(target: NodeTarget, error: OSError) -> SshFailure:
    """No TCP connection."""
    if isinstance(error, TimeoutError):
        return tcp_timeout(target)
    if isinstance(error, ConnectionRefusedError):
        return SshRefused(f"{target.address} refuses connections", hint="is sshd running, and on that port?")
    reason = error.strerror or type(error).__name__
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return SshRefused(
            f"{target.address} was not called: {reason}",
            hint="this process may open no more files: raise LimitNOFILE of the service, or ulimit -n",
        )
    return SshRefused(f"{target.address} cannot be reached: {reason}", hint="check address, routing and firewall")


def tcp_timeout(target: NodeTarget) -> SshFailure:
    """Nobody answered at TCP level."""
    return SshTimeout(
        f"{target.address} does not answer (TCP connect timed out)",
        hint="is the host up, and does a firewall drop port " + str(target.port) + "?",
    )


def login_timeout(target: NodeTarget, phase: Phase, seconds: float) -> SshFailure:
    """TCP stands, but the login did not finish in time."""
    if phase is Phase.BANNER:
        return SshBannerTimeout(
            f"{target.address} accepts connections but sends no SSH banner within {seconds:g} s", hint=BUSY_HINT
        )
    return SshLoginTimeout(
        f"the login on {target.label} did not finish within {seconds:g} s ({phase.value})",
        hint="the node may be overloaded, or its resolver or PAM slow",
    )


def login_failed(target: NodeTarget, phase: Phase, error: Exception) -> SshFailure:
    """The login ended with an error. Host key mismatches are told apart by the caller, who knows the pin."""
    if isinstance(error, asyncssh.PermissionDenied | asyncssh.IllegalUserName):
        return auth_failed(target)
    if isinstance(error, asyncssh.DisconnectError) and phase is Phase.AUTH and error.code == _TOO_MANY_FAILURES:
        return auth_failed(target)
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return SshBannerInvalid(
            f"{target.address} shares no key exchange algorithm with us",
            hint="its sshd is very old or restricted to algorithms that we do not offer",
        )
    if isinstance(error, asyncssh.ConnectionLost | OSError) and phase is Phase.AUTH:
        return SshLoginEnded(
            f"{target.label} hung up while it judged the account",
            hint="PAM may refuse the account (expired, /etc/nologin, access.conf); the node's sshd log says why",
        )
    if isinstance(error, asyncssh.ConnectionLost | OSError):
        return SshBannerInvalid(f"{target.address} closed the connection before login", hint=BUSY_HINT)
    reason = error.reason if isinstance(error, asyncssh.DisconnectError) else type(error).__name__
    return SshBannerInvalid(f"{target.address} does not speak SSH as we know it: {plain(reason)}", hint=BUSY_HINT)


def auth_failed(target: NodeTarget) -> SshFailure:
    """Our key was refused."""
    return SshAuthFailed(
        f"{target.label} does not accept our key",
        hint="add the engine's public key to that account's authorized_keys; check user name and file modes",
    )


def auth_paused(target: NodeTarget, failures: int, seconds: float) -> SshFailure:
    """Our key was refused before and the pause is not over; nothing was sent."""
    return SshAuthFailed(
        f"{target.label} refused our key {failures} time(s); next attempt in {max(1, round(seconds))} s",
        hint="newer sshd locks out addresses that fail often, so the engine waits; fix the key, then check again",
    )


def channel_failed(target: NodeTarget, error: Exception) -> SshFailure:
    """Logged in, but no command could be started."""
    reason = error.reason if isinstance(error, asyncssh.ChannelOpenError) else type(error).__name__
    return SshChannelFailed(
        f"{target.label} starts no command: {plain(reason)}",
        hint="check MaxSessions, a forced command and the account's login shell",
    )


def channel_timeout(target: NodeTarget) -> SshFailure:
    """The connection stands, but no channel opened in time."""
    return SshChannelTimeout(f"{target.label} opened no channel in time", hint="the link may be dead or the node stuck")


def command_timeout(target: NodeTarget, seconds: float) -> SshFailure:
    """The command did not end in time; it may still run."""
    return SshCommandTimeout(
        f"a command on {target.label} did not end within {seconds:g} s", hint="the node may be overloaded"
    )


def outcome_unknown(target: NodeTarget) -> SshFailure:
    """The connection or the session ended before the command's status came."""
    return SshOutcomeUnknown(
        f"the connection to {target.label} was lost while a command ran", hint="the state is read again first"
    )


def output_too_large(target: NodeTarget, limit: int) -> SshFailure:
    """A node sent more than was asked for."""
    return SshOutputTooLarge(f"{target.label} sent more than {limit} bytes; reading was stopped")
