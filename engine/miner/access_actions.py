"""What an operator may ask about the keys on the nodes, and do about those that are no grant's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from engine.clock import Clock
from engine.control.actions import ActionTable
from engine.errors import ControlRefused
from engine.events import EventSink, ForeignKeyRemoved
from engine.miner.drift import ROOT_FILE, DriftWatch, SeenLine, fingerprint_of
from engine.miner.grant_files import GrantFiles, PlacementBook
from engine.miner.reconciler import Reconciler
from engine.miner.rotation import Rotation
from engine.ssh.authorized_keys import Change, Refusal, plan_removal
from engine.ssh.keyfile import edit_key_file
from engine.ssh.keylines import KeyLine, LineKind
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget
from engine.store.grants import GrantRepository
from engine.store.records import Grant

Report = Callable[[str], None]
Args = Mapping[str, object]
_KEPT = {
    "own": "it is the key that the engine logs in with; see node_key.rotate",
    "grant": "it belongs to a grant; see session.end",
    "authority": "validators enter by it with certificates; see session.end and access.ssh_certificates",
    "operator": "it belongs to the operator's baseline; edit the file on the node",
}


class AccessActions:
    """The verbs ``node.inventory``, ``node.accept_keys``, ``node.remove_key``, ``node.adopt_leftovers``,
    ``node.protect``, ``node.unprotect`` and ``node_key.rotate``."""

    def __init__(
        self,
        pool: NodePool,
        reconciler: Reconciler,
        drift: DriftWatch,
        rotation: Rotation,
        grants: GrantRepository,
        placements: PlacementBook,
        files: GrantFiles,
        *,
        clock: Clock,
        emit: EventSink,
    ) -> None:
        self._pool = pool
        self._reconciler = reconciler
        self._drift = drift
        self._rotation = rotation
        self._grants = grants
        self._placements = placements
        self._files = files
        self._clock = clock
        self._emit = emit

    def register(self, actions: ActionTable) -> None:
        """Add the verbs."""
        actions.register("node.inventory", self._inventory, help="list every key that opens a node", danger=False)
        actions.register("node.accept_keys", self._accept, help="take unexplained keys for the operator's", danger=True)
        actions.register("node.remove_key", self._remove, help="remove one key line that is no grant's", danger=True)
        actions.register(
            "node.adopt_leftovers", self._adopt, help="remove lines that an earlier miner left", danger=True
        )
        actions.register("node.protect", self._protect, help="keep grants where only root can write", danger=True)
        actions.register("node.unprotect", self._unprotect, help="keep grants in the account's own file", danger=True)
        actions.register("node_key.rotate", self._rotate, help="change the key of the miner's own logins", danger=True)

    async def _inventory(self, args: Args, report: Report) -> Mapping[str, object]:
        target = self._target(args)
        report(f"reading the keys of {target.label}")
        lines = await self._reconciler.read(target.node_id)
        baseline = await self._drift.baseline(target)
        grants = {grant.id: grant for grant in await self._grants.open_for_node(target.node_id)}
        found = [
            entry
            for line in lines
            for entry in (
                _entry(line, grants.get(line.grant_id), None if baseline is None else baseline.since(line.fingerprint)),
                *(_guest(line, grants[grant_id]) for grant_id in line.guests if grant_id in grants),
            )
        ]
        return {"node_id": target.node_id, "address": target.label, "lines": found}

    async def _accept(self, args: Args, report: Report) -> Mapping[str, object]:
        target = self._target(args)
        chosen = args.get("fingerprint")
        only = [chosen] if isinstance(chosen, str) and chosen else None
        accepted = await self._drift.accept(target, only)
        report(f"{target.label}: {len(accepted)} keys are the operator's from now on")
        return {"accepted": list(accepted)}

    async def _remove(self, args: Args, report: Report) -> Mapping[str, object]:
        target, fingerprint = self._target(args), _text(args, "fingerprint")
        lines = [line for line in await self._reconciler.read(target.node_id) if line.fingerprint == fingerprint]
        line = _removable(lines)
        known = {grant.id for grant in await self._grants.open_for_node(target.node_id)}

        def is_doomed(one: KeyLine) -> bool:
            is_grants = one.kind is LineKind.OURS and one.grant_id in known
            return not is_grants and fingerprint_of(one.blob) == fingerprint

        def plan(old: bytes) -> Change | Refusal:
            return plan_removal(old, is_doomed, self._pool.own_blobs)

        place = (await self._placements.of(target)).root if line.file == ROOT_FILE else target
        if place is None:
            raise ControlRefused(
                "only root can take that line out",
                hint="set the file up for this engine, or edit it",
                reason="other_file",
            )
        async with self._reconciler.hold_file(target.node_id):
            await edit_key_file(self._pool, place, plan)
        self._emit(
            ForeignKeyRemoved(
                at=self._clock.now(),
                node_id=target.node_id,
                fingerprint=fingerprint,
                description=f"{line.kind} {line.comment}".rstrip(),
            )
        )
        report(f"{target.label}: {fingerprint} removed; connections that it opened before stay open")
        await self._reconciler.read(target.node_id)
        return {"removed": fingerprint}

    async def _adopt(self, args: Args, report: Report) -> Mapping[str, object]:
        target = self._target(args)
        before = [line for line in await self._reconciler.read(target.node_id) if line.kind == "leftover"]
        for line in before:
            report(f"{line.holder} {line.fingerprint}")
        outcome = await self._reconciler.reconcile(target.node_id, adopt_leftovers=True)
        after = [line for line in self._drift.lines(target) if line.kind == "leftover"]
        if after and outcome.error is not None:
            raise ControlRefused(outcome.error.message, hint=outcome.error.hint, reason=outcome.error.code)
        return {"removed": len(before) - len(after)}

    async def _protect(self, args: Args, report: Report) -> Mapping[str, object]:
        """``login`` is who is root there; with ``plan`` nothing is done but looking."""
        target, login = self._target(args), str(args.get("login") or "root")
        if args.get("plan"):
            return await self._files.plan(target, login, undo=False)
        return await self._files.protect(target, login, report)

    async def _unprotect(self, args: Args, report: Report) -> Mapping[str, object]:
        target = self._target(args)
        if args.get("plan"):
            return await self._files.plan(target, "", undo=True)
        return await self._files.unprotect(target, report)

    async def _rotate(self, args: Args, report: Report) -> Mapping[str, object]:
        del args
        return await self._rotation.rotate(report)

    def _target(self, args: Args) -> NodeTarget:
        target = self._reconciler.targets.get(_text(args, "node_id"))
        if target is None:
            raise ControlRefused("no such node", reason="unknown_node")
        return target


def _removable(lines: Sequence[SeenLine]) -> SeenLine:
    if not lines:
        raise ControlRefused("no line with that key is there", hint="look at the node again", reason="unknown_key")
    for line in lines:
        if line.kind == "own" or (line.kind in _KEPT and len(lines) == 1):
            raise ControlRefused("that line is not removed", hint=_KEPT[line.kind], reason=f"{line.kind}_key")
    doomed = [line for line in lines if line.kind not in _KEPT and line.file in {"authorized_keys", ROOT_FILE}]
    if not doomed:
        raise ControlRefused(
            f"the line stands in {lines[0].file}", hint="remove it on the node by hand", reason="other_file"
        )
    return doomed[0]


def _entry(line: SeenLine, grant: Grant | None, first_seen: float | None) -> dict[str, object]:
    """One line for people and programs: what, whose, since when, until when. Times are Unix seconds."""
    holder = line.holder
    if grant is not None:
        holder = f"validator-{grant.hotkey}"
    return {
        "file": line.file,
        "kind": line.kind,
        "holder": holder,
        "fingerprint": line.fingerprint,
        "algorithm": line.algorithm,
        "comment": line.comment,
        "options": line.options,
        "grant_id": line.grant_id,
        "since": first_seen if grant is None else grant.created_at,
        "until": line.expires_at if grant is None else grant.expires_at,
        "wrapped": line.is_wrapped,
    }


def _guest(line: SeenLine, grant: Grant) -> dict[str, object]:
    """A validator that enters by an authority's line, in the form of a line."""
    return _entry(line, grant, None) | {
        "kind": "certificate",
        "fingerprint": grant.fingerprint,
        "algorithm": grant.algorithm,
        "comment": "",
        "grant_id": grant.id,
        "wrapped": grant.wrapped,
    }


def _text(args: Args, name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not value:
        raise ControlRefused(f"'{name}' is missing", hint=f"give {name}=…", reason="bad_argument")
    return value
