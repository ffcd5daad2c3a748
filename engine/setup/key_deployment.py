"""The miner's public key onto nodes that do not have it yet: through a way in that the operator has, proved by a login.

A password is used for one login and kept nowhere. What the node gets is one line of our own public key, on stdin.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.asking import ask_beside
from engine.clock import Clock
from engine.errors import BasilicaError, ClientKeyUnusable, SshAuthFailed, SshCommandFailed
from engine.setup.ssh_config import read_ssh_config
from engine.ssh import failures
from engine.ssh.connection import ConnectionGoneError
from engine.ssh.host_keys import HostKeys
from engine.ssh.keys import ClientKey
from engine.ssh.login import connect_tcp, open_connection
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

AT_ONCE = 16
CONNECT_S = 10.0
LOGIN_S = 15.0
MOST_KEYS = 5
"""sshd hangs up at the sixth try (MaxAuthTries)."""
USUAL_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
Ending = Literal["already", "deployed", "failed", "needs_password"]
# Appends as ssh-copy-id does: once, after a line break, with the modes that sshd's StrictModes wants. Stdin is the
# script, so nothing of it is on the node's command line.
_SCRIPT = """set -e
umask 077
line={line}
mkdir -p ~/.ssh
chmod 700 ~/.ssh
f=~/.ssh/authorized_keys
if [ -s "$f" ] && [ -n "$(tail -c 1 "$f")" ]; then echo >>"$f"; fi
grep -qxF "$line" "$f" 2>/dev/null || printf '%s\\n' "$line" >>"$f"
chmod 600 "$f"
grep -qxF "$line" "$f"
"""


@dataclass(frozen=True, slots=True)
class Deployed:
    """How it ended for one node. ``hint`` is what to do next, empty when all is well."""

    target: NodeTarget
    ending: Ending
    words: str
    hint: str = ""

    @property
    def is_in_place(self) -> bool:
        """Whether the miner can log in now."""
        return self.ending in ("already", "deployed")


@dataclass(frozen=True, slots=True)
class WayIn:
    """What the operator can log in with: keys of their own, an agent, and perhaps one password for all nodes."""

    keys: tuple[ClientKey, ...] = ()
    agent: str | None = None
    password: str | None = None


def usual_way_in(home: Path, agent: str | None = None) -> WayIn:
    """The operator's own unencrypted keys, the usual ones and those that ``~/.ssh/config`` names, and the session's
    agent."""
    folder = home / ".ssh"
    found: dict[str, ClientKey] = {}
    for file in [*(folder / name for name in USUAL_KEYS), *_named(folder / "config", home)]:
        try:
            key = ClientKey.from_file(file)
        except ClientKeyUnusable:
            continue  # not there, or encrypted: the agent may have it
        found.setdefault(key.fingerprint, key)
    return WayIn(tuple(found.values())[:MOST_KEYS], agent or os.environ.get("SSH_AUTH_SOCK"))


def _named(config: Path, home: Path) -> list[Path]:
    try:
        names = read_ssh_config(config, username="").identities
    except OSError:
        return []
    return [home / name.removeprefix("~/") for name in names]


class KeyDeployment:
    """Deploys one key to many nodes. ``pins`` keeps the host keys that were met, as the engine will."""

    def __init__(
        self,
        key: ClientKey,
        pins: HostKeys,
        *,
        clock: Clock,
        on_done: Callable[[Deployed], None] = lambda _: None,
    ) -> None:
        self._key = key
        self._pins = pins
        self._clock = clock
        self._on_done = on_done

    async def run(
        self, targets: Sequence[NodeTarget], way: WayIn, *, ask: Callable[[], str] | None = None
    ) -> tuple[Deployed, ...]:
        """All nodes at the same time; ``ask`` is called at most once, when a node takes none of the keys.

        Never raises for a node: its outcome says what happened.
        """
        pool = NodePool(self._key, self._pins, clock=self._clock, emit=lambda _: None)
        try:
            first = {done.target: done for done in await self._pass(pool, targets, way)}
            waiting = [target for target, done in first.items() if done.ending == "needs_password"]
            if waiting and (way.password is not None or ask is not None):
                password = way.password if way.password is not None else await ask_beside(ask or str)
                again = WayIn((), None, password)
                first |= {done.target: done for done in await self._pass(pool, waiting, again)}
        finally:
            await pool.close()
        return tuple(first[target] for target in targets)

    async def _pass(self, pool: NodePool, targets: Iterable[NodeTarget], way: WayIn) -> list[Deployed]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(target: NodeTarget) -> Deployed:
            async with gate:
                done = await self._one(pool, target, way)
            if done.ending != "needs_password" or way.password is not None:
                self._on_done(done)
            return done

        return list(await asyncio.gather(*map(one, targets)))

    async def _one(self, pool: NodePool, target: NodeTarget, way: WayIn) -> Deployed:
        try:
            try:
                await pool.connect(target)
            except SshAuthFailed:
                pass
            else:
                return Deployed(target, "already", "the miner's key opens it already")
            await self._install(target, way)
            await pool.drop(target)
            pool.resume(target)
            await pool.connect(target)
        except SshAuthFailed:
            if way.password is None:
                return Deployed(target, "needs_password", "takes none of your keys", "give the account's password")
            return Deployed(
                target,
                "failed",
                f"{target.label} refuses the password",
                f"is it that of {target.username}, and does sshd there allow passwords (PasswordAuthentication)?",
            )
        except BasilicaError as error:
            return Deployed(target, "failed", error.message, error.hint)
        return Deployed(target, "deployed", "the miner's key is in place, and a login with it works")

    async def _install(self, target: NodeTarget, way: WayIn) -> None:
        """As the account itself: root would leave files that belong to root. Raises SshFailure."""
        connection = await open_connection(
            target,
            await connect_tcp(target, CONNECT_S),
            way.keys,
            self._pins,
            login_timeout_s=LOGIN_S,
            keepalive_interval_s=15.0,
            keepalive_count=3,
            channels=4,
            on_pinned=lambda _: None,
            password=way.password,
            agent=way.agent,
        )
        script = _SCRIPT.format(line=shlex.quote(self._key.public_line)).encode()
        try:
            result = await connection.run(
                "sh -s", stdin=script, timeout_s=20.0, channel_timeout_s=10.0, max_output_bytes=65536
            )
        except ConnectionGoneError:
            raise failures.outcome_unknown(target) from None
        finally:
            await connection.close(2.0)
        if result.exit_status != 0:
            said = failures.plain(result.stderr, 300) or failures.plain(result.stdout, 300)
            raise SshCommandFailed(
                f"{target.label}: the key file was not written: {said or 'no message'}",
                hint="look at the account's home and ~/.ssh on the node: basilica-tui doctor",
                exit_status=result.exit_status,
                stderr=said,
            )
