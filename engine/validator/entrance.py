"""The two steps with which every verification begins: whose host key answers, and whether our key opens the account."""

from __future__ import annotations

from engine.errors import SshAuthFailed, SshHostKeyChanged
from engine.ssh.pool import ConnectionInfo, NodePool
from engine.ssh.target import NodeTarget
from engine.validator.steps import Verdict


class Entrance:
    """One visit's way in. The login is done in the first step; the second says how it ended."""

    def __init__(self, pool: NodePool, target: NodeTarget, *, accepts_change: bool) -> None:
        """``accepts_change``: everything is proved anew, so the node may be another machine than before."""
        self._pool = pool
        self._target = target
        self._accepts_change = accepts_change
        self._refused: SshAuthFailed | None = None

    async def host_key(self) -> tuple[Verdict, str]:
        """Raises SshFailure."""
        keys, target = self._pool.host_keys, self._target
        pinned = keys.pinned(target)
        try:
            shown = await self._connect()
        except SshHostKeyChanged as error:
            if not self._accepts_change or keys.is_vouched(target):
                raise  # the miner has certified another key: whoever answers there is not its node
            await self._pool.accept_host_key(target, "verification", error.presented)
            shown = await self._connect()
            return "ok", f"changed from {error.pinned} to {shown}"
        if keys.is_vouched(target):
            return "ok", f"{shown}, certified by the miner"
        return "ok", f"{shown}{'' if pinned else ', first seen'}"

    async def login(self) -> tuple[Verdict, str]:
        """Raises SshFailure."""
        if self._refused is not None:
            raise self._refused
        info: ConnectionInfo = await self._pool.connect(self._target)
        return "ok", f"{self._target.label}, {info.server_version}"

    async def _connect(self) -> str:
        """The fingerprint that the node showed; a refused login is the next step's matter."""
        try:
            return (await self._pool.connect(self._target)).host_key_fingerprint
        except SshAuthFailed as error:
            self._refused = error
            return self._pool.host_keys.pinned(self._target) or "no key"
