"""One step of a plan, performed: on a node as root or as its account, on this host, or by the running engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.clock import Clock
from engine.diagnostics.fix_local import Undo, change_file, note_service, run_local
from engine.diagnostics.plan import (
    AccountScript,
    EngineAction,
    InstallService,
    LocalCommand,
    PinHostKey,
    ProveLogin,
    RemoveKeyLines,
    RootScript,
    Step,
)
from engine.errors import BasilicaError, FixFailed, SshCommandFailed, SshFailure
from engine.ssh.admin import AdminLogin
from engine.ssh.authorized_keys import Change, Refusal, plan_removal
from engine.ssh.host_keys import HostKeys, fingerprint_of
from engine.ssh.keyfile import edit_key_file, read_key_file, swap_key_file
from engine.ssh.keylines import KeyLine, LineKind
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

Report = Callable[[str], None]
Act = Callable[[str, Mapping[str, object]], Awaitable[object]]
PROOF_S = 10.0


@dataclass(frozen=True)
class Hands:
    """What plans are run with. ``pins`` must be the writable ones; ``act`` is the running engine, if there is one."""

    clock: Clock
    pins: HostKeys | None = None
    pool: NodePool | None = None
    admin: AdminLogin | None = None
    account_login: Callable[[NodeTarget], AdminLogin] | None = None
    """The account's own login by password, for putting the first key in place."""
    act: Act | None = None
    journal: Path | None = None
    actor: str = ""


class StepFailed(FixFailed):
    """A step failed halfway; ``undos`` take back what it had done."""

    def __init__(self, error: BasilicaError, undos: list[Undo]) -> None:
        super().__init__(error.message, hint=error.hint)
        self.undos = undos


class StepRunner:
    """Performs steps with what there is to work with; each returns what takes it back."""

    def __init__(self, hands: Hands, report: Report) -> None:
        self._hands = hands
        self._report = report

    async def perform(self, step: Step) -> list[Undo]:
        action = step.action
        if isinstance(action, RootScript | AccountScript):
            return await self._script(action)
        if isinstance(action, ProveLogin):
            await self._prove(action)
            return []
        if isinstance(action, PinHostKey):
            return await self._pin(action)
        if isinstance(action, RemoveKeyLines):
            return await self._remove_lines(action)
        if isinstance(action, LocalCommand):
            return await self._local(action)
        if isinstance(action, InstallService):
            return await self._install(action)
        if isinstance(action, EngineAction):
            if self._hands.act is None:
                raise FixFailed("no engine is running here", hint="start it, or use the console's action")
            await self._hands.act(action.verb, action.args)
            return []
        return await asyncio.to_thread(change_file, action)

    async def _script(self, action: RootScript | AccountScript) -> list[Undo]:
        run = self._runner(action)
        try:
            output = await run(action.script)
        except SshCommandFailed as error:
            # Half a change is taken back as well: the script said how before it made each part.
            raise StepFailed(error, self._way_back(action, run, _undo_lines(error.stdout))) from error
        await self._forget(action.target)
        return self._way_back(action, run, [*_undo_lines(output), action.undo])

    def _way_back(
        self, action: RootScript | AccountScript, run: Callable[[str], Awaitable[bytes]], lines: list[str]
    ) -> list[Undo]:
        script = "\n".join(lines)
        if not script.strip():
            return []

        async def back() -> None:
            try:
                await run(script)
            except SshFailure:
                if not isinstance(action, RootScript) or not action.returns_after_s:
                    raise
                await self._wait_for_return(action)
            await self._forget(action.target)

        return [back]

    async def _wait_for_return(self, action: RootScript) -> None:
        """We are locked out: the node takes the change back by itself."""
        self._report(f"locked out; the node takes the change back within {action.returns_after_s} s")
        admin = self._hands.admin
        assert admin is not None
        for _ in range(action.returns_after_s // 2 + 10):
            await self._hands.clock.sleep(2.0)
            try:
                await admin.try_login(action.target)
            except SshFailure:
                continue
            return
        raise FixFailed(f"{action.target.address} admits nobody any more", hint="repair sshd at the node's console")

    def _runner(self, action: RootScript | AccountScript) -> Callable[[str], Awaitable[bytes]]:
        hands, target = self._hands, action.target
        if isinstance(action, RootScript):
            admin = hands.admin
            if admin is None:
                raise FixFailed("this needs an administrator's login on the node", hint="give --admin USER")
            return lambda script: admin.run_as_root(target, script, timeout_s=600.0)
        if action.by_password:
            if hands.account_login is None:
                raise FixFailed(f"this needs the password of {target.username}", hint="run it on a terminal")
            login = hands.account_login(target)
            return lambda script: login.run(target, script)
        return lambda script: self._over_pool(target, script)

    async def _over_pool(self, target: NodeTarget, script: str) -> bytes:
        pool = self._need_pool()
        result = await pool.run(target, "sh -s", stdin=script.encode(), timeout_s=60.0, check=True)
        return result.stdout

    async def _prove(self, action: ProveLogin) -> None:
        """sshd needs a moment to take its new settings; a lockout lasts, a reload does not."""
        admin = self._hands.admin
        failure: SshFailure | None = None
        deadline = self._hands.clock.monotonic() + PROOF_S
        while failure is None or self._hands.clock.monotonic() < deadline:
            try:
                if admin is not None:
                    await admin.try_login(action.target)
                if action.with_account:
                    await self._forget(action.target)
                    await self._need_pool().connect(action.target)
                return
            except SshFailure as error:
                failure = error
                await self._hands.clock.sleep(0.3)
        raise FixFailed(f"the second login fails: {failure}", hint="the change was taken back")

    async def _pin(self, action: PinHostKey) -> list[Undo]:
        pins, pool = self._hands.pins, self._need_pool()
        if pins is None:
            raise FixFailed("there is no file of pinned host keys")
        before = pins.snapshot()
        with contextlib.suppress(SshFailure):  # the refusal is how the present key becomes known
            pool.resume(action.target)
            await pool.connect(action.target)
        await pool.accept_host_key(action.target, self._hands.actor, action.fingerprint)

        async def back() -> None:
            await pins.put_back(before)
            await self._forget(action.target)

        return [back]

    async def _remove_lines(self, action: RemoveKeyLines) -> list[Undo]:
        pool, target = self._need_pool(), action.target
        before = await read_key_file(pool, target)

        def is_doomed(line: KeyLine) -> bool:
            if action.fingerprints:
                return fingerprint_of(line.blob) in action.fingerprints
            return line.kind is LineKind.LEFTOVER

        def plan(old: bytes) -> Change | Refusal:
            return plan_removal(old, is_doomed, pool.own_blobs)

        await edit_key_file(pool, target, plan)  # under the node's writer lock

        async def back() -> None:
            async with pool.writer(target):
                await swap_key_file(pool, target, await read_key_file(pool, target), before.data)

        return [back]

    async def _local(self, action: LocalCommand) -> list[Undo]:
        async def back() -> None:
            await run_local(action.undo)

        undos: list[Undo] = [back] if action.undo else []
        try:
            output = await run_local(action.words)
        except FixFailed as error:
            if action.may_be_half_done:
                raise StepFailed(error, undos) from error
            raise
        script = "\n".join(_undo_lines(output))
        if action.prints_undo and script:

            async def as_printed() -> None:
                await run_local((*action.words[:-1], script))

            undos.append(as_printed)
        return undos

    async def _install(self, action: InstallService) -> list[Undo]:
        back = await asyncio.to_thread(note_service, action)
        try:
            await run_local(action.words)
        except FixFailed as error:
            raise StepFailed(error, [back]) from error
        return [back]

    async def _forget(self, target: NodeTarget) -> None:
        """The next login is a new one: group memberships and settings are those of its beginning."""
        if self._hands.pool is not None:
            await self._hands.pool.drop(target)
            self._hands.pool.resume(target)

    def _need_pool(self) -> NodePool:
        if self._hands.pool is None:
            raise FixFailed("the miner's own SSH key is not usable, so no node can be reached")
        return self._hands.pool


def _undo_lines(output: bytes) -> list[str]:
    """The last change first."""
    lines = output.decode("utf-8", "replace").splitlines()
    return [line.removeprefix("undo ") for line in reversed(lines) if line.startswith("undo ")]
