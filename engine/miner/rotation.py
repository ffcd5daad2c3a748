"""A new key for the miner's own logins, in steps that may be interrupted anywhere and are taken up again.

1. a new key beside the present one (``KEY.new``), and a record in the store;
2. on every node that answers: the new key gets the same line as the present one, and a login proves it;
3. the files change places at once: ``KEY`` is never missing, the former key stays as ``KEY.old``;
4. on every node that has the new key the former one's line is removed;
5. when no node is left, ``KEY.old`` goes.

Nodes that do not answer keep the former key, which the pool goes on using for them; they are tried again until they
are done or leave the configuration.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import structlog

from engine.clock import Clock
from engine.errors import BasilicaError, ClientKeyUnusable, KeyFileRefused, SshAuthFailed
from engine.events import EventSink, NodeKeyRotated
from engine.ssh.authorized_keys import plan_removal, plan_twin
from engine.ssh.keyfile import edit_key_file
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget
from engine.store.keyvalue import KeyValueRepository

log = structlog.get_logger()

STATE_KEY = "node_key.rotation"
RETRY_S = 60.0
CONCURRENT_NODES = 16
Report = Callable[[str], None]


@dataclass(slots=True)
class _State:
    """The record in the store. A node is ``deployed`` (both keys open it) or ``clean`` (only the new one does)."""

    old: str
    new: str
    started_at: float
    nodes: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        return {"old": self.old, "new": self.new, "started_at": self.started_at, "nodes": dict(self.nodes)}


class Rotation:
    """One change of key at a time. ``restore`` before the first login, ``run`` as a service."""

    def __init__(
        self,
        pool: NodePool,
        path: Path,
        keyvalue: KeyValueRepository,
        targets: Callable[[], Awaitable[Mapping[str, NodeTarget]]],
        *,
        clock: Clock,
        emit: EventSink,
        node_deadline_s: float,
    ) -> None:
        self._pool = pool
        # A link is followed: what is replaced is the file that it points to.
        self._path = path.expanduser().resolve()
        self._keyvalue = keyvalue
        self._targets = targets
        self._clock = clock
        self._emit = emit
        self._node_deadline_s = node_deadline_s
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._state: _State | None = None
        self._old: ClientKey | None = None
        self._new: ClientKey | None = None

    async def restore(self) -> None:
        """Take up what the last run left: both keys are used again. Raises ClientKeyUnusable."""
        state = _read_state(await self._keyvalue.get(STATE_KEY))
        if state is None:
            return
        present = self._pool.key
        other = self._beside("old" if present.fingerprint == state.new else "new")
        is_switched = present.fingerprint == state.new
        if present.fingerprint not in {state.old, state.new} or not other.exists():
            self._state = state
            if is_switched and all(stage == "clean" for stage in state.nodes.values()):
                await self._finish("finished", "")
            else:
                await self._finish("abandoned", "the key file holds another key now, or its counterpart is gone")
            return
        second = ClientKey.from_file(other)
        if is_switched:
            await asyncio.to_thread(switch_files, public_file(self._path))
        self._old, self._new = (second, present) if is_switched else (present, second)
        self._state = state
        self._pool.use_keys(present, second)
        self._wake.set()

    async def rotate(self, report: Report) -> Mapping[str, object]:
        """Begin a change of key, or take one up, and go as far as the nodes allow.

        Raises KeyFileRefused (``no_node``) when no node took the new key; nothing is switched then.
        """
        async with self._lock:
            if self._state is None:
                await self._begin()
            assert self._state is not None
            report(f"new key {self._state.new}")
            return await self._advance(report)

    async def run(self) -> None:
        """Finish what nodes that did not answer have left open."""
        while True:
            if self._state is None:
                await self._wake.wait()
            self._wake.clear()
            try:
                async with self._lock:
                    if self._state is not None:
                        await self._advance(lambda _: None)
            except BasilicaError as error:  # the next round tries again
                log.warning("node_key.waits", message=error.message, hint=error.hint)
            await self._clock.sleep(RETRY_S)

    # --- steps ------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        old = self._pool.key
        new = await asyncio.to_thread(prepare_key, self._beside("new"), old.comment)
        state = _State(old.fingerprint, new.fingerprint, self._clock.now())
        await self._keyvalue.put(STATE_KEY, state.to_json())
        self._state, self._old, self._new = state, old, new
        # Known as ours from now on: no validator may bring it, and its lines are no drift.
        self._pool.use_keys(old, new)
        self._say("started")

    async def _advance(self, report: Report) -> Mapping[str, object]:
        state = self._state
        assert state is not None
        await self._on_all(self._deploy, None, report)
        if self._pool.key.fingerprint != state.new:
            targets = await self._targets()
            if targets and not any(node_id in state.nodes for node_id in targets):
                raise KeyFileRefused(
                    "no node took the new key, so the present one stays in use",
                    reason="no_node",
                    hint="the log has each node's reason; the change goes on by itself when one answers",
                )
            await self._switch()
            report(f"{self._path} holds the new key")
        await self._on_all(self._clean, "deployed", report)
        targets = await self._targets()
        pending = [node_id for node_id in targets if state.nodes.get(node_id) != "clean"]
        result = {"fingerprint": state.new, "done": len(targets) - len(pending), "pending": pending}
        if pending:
            self._say("waiting", message=_waiting_words(len(pending)))
            self._wake.set()
        else:
            await self._finish("finished", "")
        return result

    async def _on_all(self, step: Callable[[NodeTarget], Awaitable[None]], stage: str | None, report: Report) -> None:
        """One step on every node that is at this stage, in parallel; a node that fails stays where it is."""
        slots = asyncio.Semaphore(CONCURRENT_NODES)
        state = self._state
        assert state is not None

        async def one(target: NodeTarget) -> None:
            try:
                async with slots, asyncio.timeout(self._node_deadline_s):
                    await step(target)
            except TimeoutError:
                report(f"{target.label}: no answer within {self._node_deadline_s:g} s")
            except BasilicaError as error:
                report(f"{target.label}: {error.message}")
                log.warning("node_key.not_changed", node_id=target.node_id, step=step.__name__, message=error.message)
            except Exception as fault:  # in one task group: what is wrong with one would end all others' steps
                report(f"{target.label}: {type(fault).__name__}: {fault}")
                log.error("node_key.unexpected", node_id=target.node_id, step=step.__name__, exc_info=fault)
            else:
                report(f"{target.label}: {state.nodes[target.node_id]}")

        targets = await self._targets()
        async with asyncio.TaskGroup() as group:
            for target in targets.values():
                if state.nodes.get(target.node_id) == stage:
                    group.create_task(one(target))

    async def _deploy(self, target: NodeTarget) -> None:
        """The new key beside the present one, proved by a login."""
        assert self._old is not None
        assert self._new is not None
        new = self._new
        no_line: KeyFileRefused | None = None
        plan = partial(plan_twin, present_blob=self._old.blob_base64, algorithm=new.algorithm, new_blob=new.blob_base64)
        try:
            await edit_key_file(self._pool, target, plan)
        except KeyFileRefused as error:
            if error.reason != "no_own_line":
                raise
            no_line = error  # the operator keeps our key elsewhere, and may have put the new one there already
        try:
            await self._prove(target)
        except SshAuthFailed as error:
            raise no_line or error from error
        await self._note(target, "deployed")

    async def _clean(self, target: NodeTarget) -> None:
        """The former key's lines go, after one more login with the new key alone."""
        assert self._old is not None
        assert self._new is not None
        await self._prove(target)
        former = base64.b64decode(self._old.blob_base64)
        plan = partial(plan_removal, doomed=lambda line: line.blob == former, own_blobs={self._new.blob_base64})
        await edit_key_file(self._pool, target, plan)
        await self._note(target, "clean")

    async def _prove(self, target: NodeTarget) -> None:
        assert self._new is not None
        visitor = self._pool.with_key(self._new)
        try:
            await visitor.run(target, "true", timeout_s=10.0, check=True)
        finally:
            await visitor.close()

    async def _note(self, target: NodeTarget, stage: str) -> None:
        assert self._state is not None
        self._state.nodes[target.node_id] = stage
        await self._keyvalue.put(STATE_KEY, self._state.to_json())
        self._say("cleaned" if stage == "clean" else stage, node_id=target.node_id)

    async def _switch(self) -> None:
        assert self._old is not None
        assert self._new is not None
        await asyncio.to_thread(switch_files, self._path, public_file(self._path))
        self._pool.use_keys(self._new, self._old)
        self._say("switched")

    async def _finish(self, step: str, message: str) -> None:
        if step == "finished":
            await asyncio.to_thread(remove_key_files, self._beside("old"))
            self._pool.use_keys(self._pool.key)
        await self._keyvalue.put(STATE_KEY, None)
        self._say(step, message=message)
        self._state = self._old = self._new = None

    def _beside(self, suffix: str) -> Path:
        return self._path.with_name(f"{self._path.name}.{suffix}")

    def _say(self, step: str, *, node_id: str = "", message: str = "") -> None:
        assert self._state is not None
        self._emit(
            NodeKeyRotated(
                at=self._clock.now(),
                step=step,
                old_fingerprint=self._state.old,
                new_fingerprint=self._state.new,
                node_id=node_id,
                message=message,
            )
        )


def _waiting_words(count: int) -> str:
    if count == 1:
        return "for 1 node, which keeps the former key until it answers"
    return f"for {count} nodes, which keep the former key until they answer"


def prepare_key(path: Path, comment: str) -> ClientKey:
    """The key at ``path``, made there if need be; one that was left half-written is made again.

    Raises ClientKeyUnusable.
    """
    try:
        key = ClientKey.load_or_create(path, comment)
    except ClientKeyUnusable:
        path.unlink(missing_ok=True)
        key = ClientKey.load_or_create(path, comment)
    public_file(path).write_text(key.public_line + "\n")
    return key


def switch_files(*paths: Path) -> None:
    """``path.new`` becomes ``path``, which becomes ``path.old``; at no moment is there no file ``path``.

    May be repeated after an interruption. Raises ClientKeyUnusable.
    """
    try:
        for path in paths:
            new, old = (path.with_name(_with_suffix(path, word)) for word in ("new", "old"))
            if new.exists():
                if path.exists():
                    old.unlink(missing_ok=True)
                    os.link(path, old)
                new.replace(path)
        _sync_directory(paths[0].parent)
    except OSError as error:
        raise ClientKeyUnusable(
            f"the key files beside {paths[0]} could not be switched: {error.strerror or error}",
            hint="make the directory writable for the engine; the former key stays in use",
        ) from error


def remove_key_files(path: Path) -> None:
    """Delete a private key that opens nothing any more, and its public half. Raises ClientKeyUnusable."""
    try:
        path.unlink(missing_ok=True)
        public_file(path).unlink(missing_ok=True)
    except OSError as error:
        raise ClientKeyUnusable(
            f"{path} could not be deleted: {error.strerror or error}", hint="delete it; it opens nothing any more"
        ) from error


def public_file(path: Path) -> Path:
    """Where ``ClientKey.save`` puts the public half."""
    return path.with_name(path.name + ".pub")


def _with_suffix(name: Path, word: str) -> str:
    """``key`` gives ``key.new``, and ``key.pub`` gives ``key.new.pub``."""
    stem = name.name.removesuffix(".pub")
    return f"{stem}.{word}" + (".pub" if name.name != stem else "")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_state(record: object) -> _State | None:
    if not isinstance(record, Mapping):
        return None
    old, new, at, nodes = (record.get(name) for name in ("old", "new", "started_at", "nodes"))
    if not (
        isinstance(old, str) and isinstance(new, str) and isinstance(at, int | float) and isinstance(nodes, Mapping)
    ):
        return None
    return _State(old, new, float(at), {str(name): str(stage) for name, stage in nodes.items()})
