"""The login on a node, step by step: name, TCP, banner, host key, authentication."""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

import asyncssh

from engine.errors import SshFailure, SshHostKeyChanged
from engine.ssh import failures
from engine.ssh.certificates import GuestCertificate
from engine.ssh.connection import NodeConnection
from engine.ssh.failures import Phase
from engine.ssh.host_keys import HostKeys, PresentedKey, Verdict
from engine.ssh.keys import ClientKey
from engine.ssh.target import NodeTarget

logging.getLogger("asyncssh").setLevel(logging.WARNING)  # its INFO is a line per connection and channel

_HOST_KEY_ALGORITHMS = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}


def say_who_we_are() -> None:
    """asyncssh asks for our own name, which a user without an entry in passwd, such as a container's, does not have."""
    try:
        getpass.getuser()
    except (KeyError, OSError):  # which of them, the Python decides
        os.environ["LOGNAME"] = f"uid{os.getuid()}"


class _Client(asyncssh.SSHClient):
    """Watches one login, so that a failure can be named after the step it happened in."""

    def __init__(self, target: NodeTarget, host_keys: HostKeys) -> None:
        self._target = target
        self._host_keys = host_keys
        self.connection: asyncssh.SSHClientConnection | None = None
        self.presented: PresentedKey | None = None
        self.verdict: Verdict | None = None
        self.is_authenticating = False
        self.on_authenticating: Callable[[], None] = lambda: None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.connection = conn

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        # The pin belongs to what the operator configured, not to the address that it resolved to.
        if self.presented is not None and self.verdict is Verdict.NEW:
            return self.presented.blob == key.public_data
        self.presented = PresentedKey(key.get_algorithm(), key.public_data)
        self.verdict = self._host_keys.judge(self._target, self.presented)
        return self.verdict is not Verdict.CHANGED

    def begin_auth(self, username: str) -> None:
        if not self.is_authenticating:
            self.on_authenticating()
        self.is_authenticating = True

    @property
    def phase(self) -> Phase:
        if self.is_authenticating:
            return Phase.AUTH
        banner = self.connection.get_extra_info("server_version") if self.connection else None
        return Phase.HANDSHAKE if banner else Phase.BANNER


async def open_connection(
    target: NodeTarget,
    sock: socket.socket,
    keys: Sequence[ClientKey],
    host_keys: HostKeys,
    *,
    certificate: GuestCertificate | None = None,
    login_timeout_s: float,
    auth_timeout_s: float | None = None,
    keepalive_interval_s: float,
    keepalive_count: int,
    channels: int,
    on_pinned: Callable[[str], None],
    password: str | None = None,
    agent: str | None = None,
) -> NodeConnection:
    """Check the host key and log in over a connected socket, which is used up. Raises SshFailure classes only.

    The keys are offered in their order, before them ``certificate`` of the first one, then those of the agent at that
    socket, and last the password if there is one: an operator's, asked for once.

    ``login_timeout_s`` is for all of it, or with ``auth_timeout_s`` for banner and key exchange: what follows waits for
    the node's PAM, resolver, and what looks up its keys.

    A host key seen for the first time is pinned, and ``on_pinned`` told its fingerprint, once the node has proved
    that it holds the key, whether or not the login then succeeds.
    """
    say_who_we_are()
    client = _Client(target, host_keys)
    loop, limit, seconds = asyncio.get_running_loop(), asyncio.timeout(login_timeout_s), login_timeout_s
    started = loop.time()
    if auth_timeout_s is not None:
        client.on_authenticating = lambda: limit.reschedule(loop.time() + auth_timeout_s)
    try:
        preferred = host_keys.pinned_algorithm(target)
        async with limit:
            conn = await asyncssh.connect(
                target.host,
                target.port,
                sock=sock,
                config=None,
                agent_path=agent,
                known_hosts=_trust_nobody,
                server_host_key_algs=_host_key_order(preferred),
                x509_trusted_certs=None,
                username=target.username,
                client_keys=_offered(keys, certificate),
                password=password,
                preferred_auth="publickey" if password is None else "publickey,keyboard-interactive,password",
                client_factory=lambda: client,
                keepalive_interval=keepalive_interval_s,
                keepalive_count_max=keepalive_count,
                login_timeout=0,
                compression_algs=None,
            )
    except TimeoutError:
        await _pin_if_new(client, target, host_keys, on_pinned)
        if client.is_authenticating and auth_timeout_s is not None:
            seconds = auth_timeout_s
        raise failures.login_timeout(target, client.phase, seconds) from None
    except SshFailure:
        raise
    except Exception as error:  # a hostile peer reaches many parsers; whatever they raise is a failed login
        await _pin_if_new(client, target, host_keys, on_pinned)
        if client.verdict is Verdict.CHANGED and client.presented is not None:
            raise _host_key_changed(target, host_keys, client.presented) from error
        raise failures.login_failed(target, client.phase, error) from error
    finally:
        if client.connection is None:
            sock.close()
    login_s = loop.time() - started
    try:
        await _pin_if_new(client, target, host_keys, on_pinned)
    except BaseException:
        conn.abort()
        raise
    assert client.presented is not None
    return NodeConnection(target, conn, client.presented, channels, login_s)


async def connect_tcp(target: NodeTarget, timeout_s: float) -> socket.socket:
    """Our own TCP connect, so that a resolver, a refusal and a silent firewall are told apart."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            addresses = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise failures.resolve_failed(target, OSError("the resolver does not answer")) from None
    except (OSError, UnicodeError) as error:
        failure = error if isinstance(error, OSError) else OSError("not a host name")
        raise failures.resolve_failed(target, failure) from error
    refusal = OSError("no address")
    try:
        async with asyncio.timeout(timeout_s):
            for family, kind, protocol, _, address in addresses:
                try:
                    sock = socket.socket(family, kind, protocol)
                except OSError as error:  # this process may open no more files, or IPv6 is off
                    refusal = error
                    continue
                try:
                    sock.setblocking(False)
                    await loop.sock_connect(sock, address)
                except OSError as error:
                    sock.close()
                    refusal = error
                except BaseException:
                    sock.close()
                    raise
                else:
                    return sock
    except TimeoutError:
        raise failures.tcp_timeout(target) from None
    raise failures.tcp_failed(target, refusal)


async def _pin_if_new(
    client: _Client, target: NodeTarget, host_keys: HostKeys, on_pinned: Callable[[str], None]
) -> None:
    if client.verdict is not Verdict.NEW or not client.is_authenticating or client.presented is None:
        return
    await host_keys.pin(target, client.presented)
    on_pinned(client.presented.fingerprint)


def _host_key_changed(target: NodeTarget, host_keys: HostKeys, presented: PresentedKey) -> SshHostKeyChanged:
    pinned = host_keys.pinned(target) or "none"
    return SshHostKeyChanged(
        f"{target.address} presents host key {presented.fingerprint}, pinned is {pinned}",
        hint="find out why (reinstalled, or somebody in between) and accept the new key only if it is right",
        pinned=pinned,
        presented=presented.fingerprint,
    )


def _offered(keys: Sequence[ClientKey], certificate: GuestCertificate | None) -> list[Any]:
    certified = [] if certificate is None else [(keys[0].private, certificate.loaded)]
    return [*certified, *(key.private for key in keys)]


def _trust_nobody(host: str, addr: str, port: int | None) -> tuple[list[str], list[str], list[str]]:
    """An empty known_hosts, so that asyncssh asks our client object about every host key."""
    return [], [], []


def _host_key_order(preferred: str | None) -> list[str]:
    """The pinned type first: a node with several host keys then shows the one that we know."""
    types = sorted(_HOST_KEY_ALGORITHMS, key=lambda kind: kind != preferred)
    return [name for kind in types for name in _HOST_KEY_ALGORITHMS[kind]]
