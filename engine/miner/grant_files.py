"""Where each node keeps its grants: in the account's own key file, or in one that only root can write.

The second is set up on the operator's word, taken away on it, and remembered in the store by address. A move may be
interrupted anywhere: each stage says where grants are written, and the other file is emptied of ours after that.

============  =========================  =====================================
stage         grants are written to      of ours taken out
============  =========================  =====================================
``user``      the account's file         (the other file is only read)
``entering``  the account's file         of the root's file
``root``      the root's file            of the account's file
``leaving``   the account's file         of the root's file
============  =========================  =====================================
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from engine.clock import Clock
from engine.errors import BasilicaError, ControlRefused, KeyFileRefused, SshFailure
from engine.events import EventSink, GrantsFileMoved
from engine.miner.capabilities import CapabilitySource
from engine.ssh import failures
from engine.ssh.pool import NodePool
from engine.ssh.root_file import RootLook, drop_in, install, look, remove
from engine.ssh.target import NodeTarget, RootFile
from engine.store.keyvalue import KeyValueRepository

Stage = Literal["user", "entering", "root", "leaving"]
_STAGES: tuple[Stage, ...] = ("user", "entering", "root", "leaving")
Report = Callable[[str], None]
LOGIN_ATTEMPTS = 8
LOGIN_PAUSE_S = 0.25
"""sshd takes a moment to listen again after it has read its configuration anew."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one node's grants are. ``root`` is None where nobody ever asked for such a file."""

    stage: Stage = "user"
    root: RootFile | None = None

    @property
    def wanted_in_root(self) -> RootFile | None:
        """The root's file, if grants are written there."""
        return self.root if self.stage == "root" else None

    @property
    def emptied_root(self) -> RootFile | None:
        """The root's file, if no grant of ours may stay there."""
        return self.root if self.stage in {"entering", "leaving"} else None


class PlacementBook:
    """The placements in the store."""

    def __init__(self, keyvalue: KeyValueRepository) -> None:
        self._keyvalue = keyvalue
        self._known: dict[str, Placement] = {}

    async def of(self, target: NodeTarget) -> Placement:
        """Where this node's grants are; an id that moves to another host takes no placement with it."""
        if target.label not in self._known:
            self._known[target.label] = _read(target, await self._keyvalue.get(_key(target)))
        placement = self._known[target.label]
        if placement.root is None:
            return placement
        return replace(placement, root=root_file(target, placement.root.login.username))

    async def put(self, target: NodeTarget, stage: Stage, root: RootFile) -> None:
        """Remember a stage; ``user`` forgets the login."""
        record = None if stage == "user" else {"stage": stage, "login": root.login.username}
        await self._keyvalue.put(_key(target), record)
        self._known[target.label] = Placement() if stage == "user" else Placement(stage, root)

    async def logins(self, targets: Mapping[str, NodeTarget]) -> dict[str, NodeTarget]:
        """The logins of their own by which the root's files are kept, by id: they carry the engine's key as well."""
        found = {}
        for target in targets.values():
            root = (await self.of(target)).root
            if root is not None and root.login != target:
                found[root.login.node_id] = root.login
        return found


class Reconciling(Protocol):
    """What of the reconciler is used here."""

    def hold(self, node_id: str) -> AbstractAsyncContextManager[None]: ...
    def hold_visits(self, node_id: str) -> asyncio.Lock: ...
    async def bring_in_line(self, node_id: str) -> BasilicaError | None: ...


class GrantFiles:
    """Moves a node's grants from one file to the other, and back."""

    def __init__(
        self,
        pool: NodePool,
        book: PlacementBook,
        reconciler: Reconciling,
        capabilities: CapabilitySource,
        ask_again: Callable[[str], None],
        *,
        clock: Clock,
        emit: EventSink,
    ) -> None:
        self._pool = pool
        self._book = book
        self._reconciler = reconciler
        self._capabilities = capabilities
        self._ask_again = ask_again
        self._clock = clock
        self._emit = emit
        self._lock = asyncio.Lock()

    async def plan(self, target: NodeTarget, login: str, *, undo: bool) -> Mapping[str, object]:
        """What ``protect`` or ``unprotect`` would do, in words. Raises KeyFileRefused and SshFailure."""
        now = await self._book.of(target)
        if undo:
            steps = _steps_back(now.root) if now.root is not None else []
            return {"stage": now.stage, "steps": steps, "warnings": []}
        found, root = await self._look(target, login)
        return {"stage": now.stage, "steps": _steps(root, found), "warnings": _warnings(found)}

    async def protect(self, target: NodeTarget, login: str, report: Report) -> Mapping[str, object]:
        """Set the root's file up, prove it by logins, and move the grants there. Raises BasilicaError."""
        async with self._lock:
            now = await self._book.of(target)
            found, root = await self._look(target, login)
            if now.stage != "root" or not found.is_set_up:
                await self._set_up(target, root, found, report)
            await self._enter(target, root, "root")
            report(f"grants are kept in {root.path} from now on")
            await self._bring_in_line(target)
        return {"path": root.path, "warnings": _warnings(found), "message": f"validators' keys are in {root.path}"}

    async def unprotect(self, target: NodeTarget, report: Report) -> Mapping[str, object]:
        """Move the grants back and take the root's file away. Raises BasilicaError."""
        async with self._lock:
            root = (await self._book.of(target)).root
            if root is None:
                raise ControlRefused("grants are in the account's own file there", reason="not_protected")
            await self._enter(target, root, "leaving")
            await self._bring_in_line(target)
            report("grants are back in .ssh/authorized_keys")
            await remove(self._pool, root)
            await self._prove_logins(target, root)
            report(f"{drop_in(root.account)} is gone, and logins work")
            await self._enter(target, root, "user")
        return {"message": "validators' keys are in .ssh/authorized_keys"}

    async def _look(self, target: NodeTarget, login: str) -> tuple[RootLook, RootFile]:
        root = root_file(target, login)
        self._pool.resume(root.login)  # the operator may just have put the key there
        return await look(self._pool, target, root), root

    # --- steps ------------------------------------------------------------------------------------------------

    async def _set_up(self, target: NodeTarget, root: RootFile, found: RootLook, report: Report) -> None:
        await self._enter(target, root, "entering")
        try:
            await install(self._pool, root, found)
            report(f"sshd is told of {root.path}")
            await self._prove_logins(target, root)
            report("logins work as before")
            await self._prove_file(target, root)
            report("a key in the new file opens the node, and one whose time is over does not")
        except (SshFailure, KeyFileRefused) as error:
            report(f"{error.message}: going back")
            await remove(self._pool, root)  # over the connection that stood before; if that fails, the stage says so
            await self._enter(target, root, "user", message=error.message)
            raise

    async def _prove_logins(self, target: NodeTarget, root: RootFile) -> None:
        """New logins, not the connections that stand: nobody may be locked out."""
        for one in dict.fromkeys((target, root.login)):
            visitor = self._pool.with_key(self._pool.key)
            try:
                for attempt in range(1, LOGIN_ATTEMPTS + 1):
                    try:
                        await visitor.run(one, "true", timeout_s=10.0, check=True)
                        break
                    except SshFailure:
                        if attempt == LOGIN_ATTEMPTS:
                            raise
                        visitor.resume(one)
                        await self._clock.sleep(LOGIN_PAUSE_S * attempt)
            finally:
                await visitor.close()

    async def _prove_file(self, target: NodeTarget, root: RootFile) -> None:
        async with self._reconciler.hold_visits(target.node_id):  # it would take the canary's lines out
            enrolled = await self._capabilities.enrolled(target, root)
        if enrolled.refusal is not None:
            raise enrolled.refusal
        if enrolled.enforced == "assumed":
            raise KeyFileRefused(
                f"the logins on {target.label} that should prove {root.path} gave no clear answer",
                reason="not_proved",
                hint="see the node's log of sshd, then try again",
            )

    async def _enter(self, target: NodeTarget, root: RootFile, stage: Stage, *, message: str = "") -> None:
        async with self._reconciler.hold(target.node_id):
            await self._book.put(target, stage, root)
        self._ask_again(target.node_id)
        self._emit(
            GrantsFileMoved(
                at=self._clock.now(),
                node_id=target.node_id,
                step=stage,
                path=root.path,
                login=root.login.username,
                message=message,
            )
        )

    async def _bring_in_line(self, target: NodeTarget) -> None:
        error = await self._reconciler.bring_in_line(target.node_id)
        if error is not None:
            raise ControlRefused(
                f"keys are not moved yet: {error.message}",
                hint=error.hint or "it is tried again by itself; then do this once more",
                reason="not_moved",
            )


def root_file(target: NodeTarget, login: str) -> RootFile:
    """The root's file of a node's account. A login of its own has a connection of its own."""
    if login == target.username:
        return RootFile(target, target.username)
    return RootFile(replace(target, username=login, node_id=f"{target.node_id}#root"), target.username)


def _steps(root: RootFile, found: RootLook) -> list[str]:
    files = " ".join(found.key_files)
    return [
        f"as {root.login.label}: make {root.path} (root-owned, mode 644, empty)",
        f"write {drop_in(root.account)}: Match User {root.account}, AuthorizedKeysFile {files} and that file",
        f"test it with {found.sshd} -t, and "
        + ("let sshd read its configuration anew (SIGHUP)" if found.is_reloaded_by_signal else "nothing to reload"),
        "prove by new logins that nobody is locked out, and by a throw-away key that the file counts; else go back",
        "write validators' keys there, then take them out of .ssh/authorized_keys",
    ]


def _steps_back(root: RootFile) -> list[str]:
    return [
        f"write validators' keys to .ssh/authorized_keys, then take them out of {root.path}",
        f"as {root.login.label}: remove {drop_in(root.account)}, and let sshd read its configuration anew",
        f"prove by new logins that nobody is locked out, and remove {root.path}",
    ]


def _warnings(found: RootLook) -> list[str]:
    return [f"{one}: guests can change that file as well" for one in found.guests_can]


def _read(target: NodeTarget, record: object) -> Placement:
    if not isinstance(record, Mapping):
        return Placement()
    found, login = record.get("stage"), record.get("login")
    stage: Stage | None = next((one for one in _STAGES if one == found), None)
    if stage is None or not isinstance(login, str) or not login:
        return Placement()
    return Placement(stage, root_file(target, failures.plain(login, 64)))


def _key(target: NodeTarget) -> str:
    return f"access.grants_file.{target.label}"
