"""What an operator may change about who enters which node: drain, deploy, revoke, renew."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from engine.clock import Clock
from engine.control.actions import ActionTable
from engine.errors import ControlRefused, PublicKeyRefused
from engine.events import AccessRenewed, EventSink
from engine.identity.public_keys import PublicKey, parse_public_key
from engine.miner.drain import DrainBook
from engine.miner.grants import END_OPERATOR
from engine.miner.reconciler import Reconciler
from engine.store import Store
from engine.store.records import Grant, Session
from engine.wire.messages import Dialect

Args = Mapping[str, object]
Report = Callable[[str], None]


class Granting(Protocol):
    """What of the miner's core is used here."""

    def is_assigned(self, hotkey: str) -> bool: ...
    def is_served(self, node_id: str) -> bool: ...
    async def grant(
        self, hotkey: str, key: PublicKey, dialect: Dialect, node_ids: Sequence[str]
    ) -> tuple[Grant, ...]: ...
    async def end_access(self, reason: str, *, only: Callable[[Grant], bool]) -> int: ...


class OperatorAccess:
    """The verbs ``node.drain``, ``node.enable``, ``grant.deploy``, ``grant.revoke`` and ``session.renew``."""

    def __init__(
        self,
        core: Granting,
        store: Store,
        reconciler: Reconciler,
        drained: DrainBook,
        *,
        clock: Clock,
        emit: EventSink,
    ) -> None:
        self._core = core
        self._store = store
        self._reconciler = reconciler
        self._drained = drained
        self._clock = clock
        self._emit = emit

    def register(self, actions: ActionTable) -> None:
        """Add the verbs."""
        actions.register("node.drain", self._drain, help="hand a node out no more; checks go on", danger=True)
        actions.register("node.enable", self._enable, help="take a drained node back into service", danger=True)
        actions.register("grant.deploy", self._deploy, help="put a validator's key on a node now", danger=True)
        actions.register("grant.revoke", self._revoke, help="take a validator's key off a node now", danger=True)
        actions.register("session.renew", self._renew, help="extend a validator's access", danger=True)

    async def _drain(self, args: Args, report: Report) -> Mapping[str, object]:
        node_id = self._node(args)
        is_new = await self._drained.drain(node_id)
        left = [g for g in await self._store.grants.open_for_node(node_id) if g.is_wanted(self._clock.now())]
        if not is_new:
            return {"message": "it was out of service already", "keys_left": len(left)}
        until = max((g.expires_at for g in left), default=None)
        report(f"no new access; {len(left)} keys stay until they expire" if left else "no new access")
        return {"message": "out of service", "keys_left": len(left), "until": until}

    async def _enable(self, args: Args, report: Report) -> Mapping[str, object]:
        is_new = await self._drained.enable(self._node(args))
        report("validators get it with their next discovery")
        return {"message": "back in service" if is_new else "it was in service already"}

    async def _deploy(self, args: Args, report: Report) -> Mapping[str, object]:
        node_id, session = self._node(args), await self._session(args)
        if self._drained.is_out(node_id):
            raise ControlRefused("that node is drained", hint="enable it first", reason="drained")
        await self._give(session, [node_id])
        report("writing the key")
        outcome = await self._reconciler.reconcile(node_id)
        if outcome.error is not None:
            raise ControlRefused(outcome.error.message, hint=outcome.error.hint, reason=outcome.error.code)
        return {"message": f"the key of {session.hotkey} is in place", "in_place": len(outcome.in_place)}

    async def _revoke(self, args: Args, report: Report) -> Mapping[str, object]:
        node_id, hotkey = self._node(args), _text(args, "hotkey")
        ended = await self._core.end_access(END_OPERATOR, only=lambda g: (g.node_id, g.hotkey) == (node_id, hotkey))
        if not ended:
            raise ControlRefused("that validator has no key there", reason="no_grant")
        report("removing the key")
        error = await self._reconciler.take_away(node_id)
        if error is not None:
            raise ControlRefused(error.message, hint=error.hint, reason=error.code)
        return {"message": f"the key of {hotkey} is gone", "ended": ended}

    async def _renew(self, args: Args, report: Report) -> Mapping[str, object]:
        session, now = await self._session(args), self._clock.now()
        open_grants = await self._store.grants.open()
        node_ids = [g.node_id for g in open_grants if g.hotkey == session.hotkey and g.is_wanted(now)]
        node_ids = [i for i in node_ids if self._core.is_served(i) and not self._drained.is_out(i)]
        if not node_ids:
            raise ControlRefused(
                "that validator has no access to renew", hint="it gets some with its next discovery", reason="no_grant"
            )
        grants = await self._give(session, node_ids)
        report(f"writing {len(grants)} keys")
        outcomes = await self._reconciler.reconcile_many(node_ids)
        until = grants[0].expires_at
        # The validator may have authenticated anew while the nodes were written, or its session may have been ended.
        await self._store.sessions.prolong(session.hotkey, until)
        self._emit(AccessRenewed(at=self._clock.now(), validator_hotkey=session.hotkey, access_until=until))
        placed = sum(any(g.id in o.in_place for g in grants) for o in outcomes.values())
        return {"message": f"renewed on {placed} of {len(node_ids)} nodes", "until": until}

    async def _give(self, session: Session, node_ids: Sequence[str]) -> tuple[Grant, ...]:
        key = parse_public_key(f"{session.key_algorithm} {session.key_blob_base64}")
        dialect: Dialect = "B" if session.dialect == "B" else "A"
        try:
            return await self._core.grant(session.hotkey, key, dialect, node_ids)
        except PublicKeyRefused as error:
            raise ControlRefused(error.message, hint=error.hint, reason=error.code) from error

    async def _session(self, args: Args) -> Session:
        hotkey = _text(args, "hotkey")
        session = await self._store.sessions.get(hotkey)
        if session is None or session.ended_at is not None or not session.key_blob_base64:
            raise ControlRefused(
                "that validator has no session with a key", hint="it has to call discovery first", reason="no_session"
            )
        if not self._core.is_assigned(hotkey):
            raise ControlRefused("that validator is not assigned to this miner", reason="not_assigned")
        return session

    def _node(self, args: Args) -> str:
        node_id = _text(args, "node_id")
        if not self._core.is_served(node_id):
            raise ControlRefused("no such node", reason="unknown_node")
        return node_id


def _text(args: Args, name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not value:
        raise ControlRefused(f"'{name}' is missing", hint=f"give {name}=…", reason="bad_argument")
    return value
