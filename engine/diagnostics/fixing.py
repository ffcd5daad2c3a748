"""Running a plan: step by step with progress, verified by the check itself, taken back where it did not help.

Nothing here asks for consent: whoever calls has shown the plan. Every run is written down.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from engine.clock import Clock
from engine.config.save import save_config
from engine.diagnostics.model import Result, Verdict
from engine.diagnostics.plan import (
    AccountScript,
    EditConfig,
    EngineAction,
    LocalCommand,
    MakeKey,
    PinHostKey,
    Plan,
    ProveLogin,
    RemoveKeyLines,
    RestoreFile,
    RootScript,
    SetMode,
    Step,
    WriteFile,
)
from engine.errors import BasilicaError, FixFailed, SshFailure
from engine.ssh.admin import AdminLogin
from engine.ssh.authorized_keys import Change, Refusal, plan_removal
from engine.ssh.host_keys import HostKeys, fingerprint_of
from engine.ssh.keyfile import edit_key_file, read_key_file, swap_key_file
from engine.ssh.keylines import KeyLine, LineKind
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

Report = Callable[[str], None]
Act = Callable[[str, Mapping[str, object]], Awaitable[object]]
Undo = Callable[[], Awaitable[None]]
Ending = Literal["repaired", "changed", "not_helped", "failed", "undone"]
LOCAL_COMMAND_S = 120.0
PROOF_S = 10.0
_JOURNAL_LIMIT_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended. ``changed``: all steps ran, and the check now finds another cause."""

    plan: Plan
    ending: Ending
    message: str
    after: Result | None = None


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


class Fixer:
    """Runs plans, one at a time."""

    def __init__(self, hands: Hands, *, report: Report = lambda _: None) -> None:
        self._hands = hands
        self._report = report

    async def run(self, plan: Plan, recheck: Callable[[], Awaitable[Result | None]], before: Result) -> Outcome:
        """Perform the steps, then ask the check again. Never raises BasilicaError: the outcome says it."""
        undos: list[Undo] = []
        try:
            for number, step in enumerate(plan.steps, 1):
                self._report(f"{number}/{len(plan.steps)} {step.title}")
                undos += await self._perform(step)
        except BasilicaError as error:
            taken_back = await self._take_back(undos)
            return self._end(Outcome(plan, "failed", f"{error}{taken_back}"))
        self._report("checking again")
        after = await recheck()
        if after is None or (after.verdict in (Verdict.OK, Verdict.WARNING) and before.verdict is Verdict.FAILED):
            return self._end(Outcome(plan, "repaired", "the check is fine now", after))
        if not after.is_finding and after.verdict is Verdict.OK:
            return self._end(Outcome(plan, "repaired", "the check is fine now", after))
        if after.cause != before.cause:
            return self._end(Outcome(plan, "changed", f"now {after.cause or after.reason}: {after.cause_words}", after))
        taken_back = await self._take_back(undos)
        return self._end(Outcome(plan, "not_helped", f"the check still finds {after.cause}{taken_back}", after))

    # --- one step ----------------------------------------------------------------------------------------------

    async def _perform(self, step: Step) -> list[Undo]:
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
        if isinstance(action, EngineAction):
            if self._hands.act is None:
                raise FixFailed("no engine is running here", hint="start it, or use the console's action")
            await self._hands.act(action.verb, action.args)
            return []
        return await asyncio.to_thread(_change_file, action)

    async def _script(self, action: RootScript | AccountScript) -> list[Undo]:
        run = self._runner(action)
        output = await run(action.script)
        await self._forget(action.target)
        lines = [
            line.removeprefix("undo ")
            for line in output.decode("utf-8", "replace").splitlines()
            if line.startswith("undo ")
        ]
        script = "\n".join([*reversed(lines), action.undo])
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
        await _run_local(action.words)
        if not action.undo:
            return []

        async def back() -> None:
            await _run_local(action.undo)

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

    # --- the end -----------------------------------------------------------------------------------------------

    async def _take_back(self, undos: list[Undo]) -> str:
        if not undos:
            return ""
        self._report("taking it back")
        for undo in reversed(undos):
            try:
                await undo()
            except BasilicaError as error:
                return f"; taking it back failed: {error}"
        return "; what was changed is taken back"

    def _end(self, outcome: Outcome) -> Outcome:
        journal = self._hands.journal
        if journal is None:
            return outcome
        plan = outcome.plan
        entry = {
            "at": self._hands.clock.now(),
            "actor": self._hands.actor,
            "fix": plan.fix,
            "check": plan.check,
            "subject": plan.subject or "host",
            "steps": [step.command for step in plan.steps],
            "ending": outcome.ending,
            "message": outcome.message,
        }
        try:
            _write_down(journal, json.dumps(entry))
        except OSError as error:
            return replace(outcome, message=f"{outcome.message}; not written down in {journal}: {error.strerror}")
        return outcome


def _change_file(action: SetMode | MakeKey | EditConfig | RestoreFile | WriteFile) -> list[Undo]:
    """Changes of local files. Raises FixFailed, or BasilicaError of whoever does it."""
    try:
        if isinstance(action, SetMode):
            old = action.path.stat().st_mode & 0o7777
            action.path.chmod(action.mode)
            return [_blocking(lambda: action.path.chmod(old))]
        if isinstance(action, MakeKey):
            ClientKey.generate("basilica-miner").save(action.path)
            public = action.path.with_name(action.path.name + ".pub")
            return [_blocking(action.path.unlink), _blocking(public.unlink)]
        if isinstance(action, EditConfig):
            backup = save_config(action.path, action.changes)
            return [_blocking(lambda: shutil.copyfile(backup, action.path))]
        if isinstance(action, WriteFile):
            return _write_file(action)
        kept = action.path.with_name(action.path.name + ".broken")
        if action.path.exists():
            shutil.copyfile(action.path, kept)
        shutil.copyfile(action.copy, action.path)
        return (
            [_blocking(lambda: shutil.copyfile(kept, action.path))]
            if kept.exists()
            else [_blocking(action.path.unlink)]
        )
    except OSError as error:
        raise FixFailed(f"{action.path}: {error.strerror or error}", hint="run as the file's owner") from error


def _write_file(action: WriteFile) -> list[Undo]:
    before = action.path.read_bytes() if action.path.exists() else None
    action.path.parent.mkdir(parents=True, exist_ok=True)
    action.path.write_text(action.text)
    if before is None:
        return [_blocking(action.path.unlink)]
    return [_blocking(lambda: action.path.write_bytes(before))]


def _blocking(work: Callable[[], object]) -> Undo:
    async def back() -> None:
        try:
            await asyncio.to_thread(work)
        except OSError as error:
            raise FixFailed(str(error)) from error

    return back


async def _run_local(words: tuple[str, ...]) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except OSError as error:
        raise FixFailed(f"{words[0]} cannot be started: {error.strerror}") from error
    try:
        async with asyncio.timeout(LOCAL_COMMAND_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        raise FixFailed(f"{' '.join(words)} did not end within {LOCAL_COMMAND_S:g} s") from None
    if process.returncode:
        said = " ".join(output.decode("utf-8", "replace").split())[:300]
        raise FixFailed(f"{' '.join(words)} ended with status {process.returncode}: {said}")


def _write_down(journal: Path, line: str) -> None:
    journal.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "a", encoding="utf-8") as file:
        if file.tell() < _JOURNAL_LIMIT_BYTES:
            file.write(line + "\n")
