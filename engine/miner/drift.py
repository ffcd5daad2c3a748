"""Key lines that nobody has explained: neither the operator's baseline, nor the engine's own key, nor a grant's.

A validator that shares the account can add a key of its own, and no line of ours can prevent that. So every line is
held against what stood there when the node was first read; what is new is reported and left to the operator.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from weakref import WeakValueDictionary

from engine.clock import Clock
from engine.errors import ControlRefused
from engine.events import BaselineAccepted, DriftSeen, EventSink, KeyLinesSeen
from engine.ssh import failures
from engine.ssh.authorized_keys import inventory
from engine.ssh.keyfile import OtherFiles
from engine.ssh.keylines import AUTHORITY_HOLDER, KeyLine, LineKind
from engine.ssh.target import NodeTarget
from engine.store.keyvalue import KeyValueRepository

SHOWN_LINES = 20
TOLD_LINES = 60
COMMENT_CHARS = 80
SECOND_FILE = "authorized_keys2"
"""sshd reads it too unless it is told otherwise."""
ROOT_FILE = "basilica_keys"
"""The key file that only root can write, where a node has one."""


@dataclass(frozen=True, slots=True)
class SeenLine:
    """One key line of a node, with what is known about it.

    ``kind``: own, grant, authority (lets in certificates for grants), operator, leftover, drift, orphan.
    """

    kind: str
    fingerprint: str
    algorithm: str
    holder: str
    comment: str
    file: str = "authorized_keys"
    grant_id: str = ""
    expires_at: int | None = None
    is_wrapped: bool = False
    options: str = ""
    guests: tuple[str, ...] = ()
    """Of an authority: the ids of the grants that enter by it."""

    @property
    def is_unexplained(self) -> bool:
        """Whether it is drift, under whatever name it goes."""
        return self.kind in {"drift", "orphan"}

    @property
    def text(self) -> str:
        """Fingerprint, kind and comment, fit to be shown."""
        where = "" if self.file == "authorized_keys" else f" in {self.file}"
        return f"{self.fingerprint} {self.kind}{where} {self.comment}".rstrip()


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the operator has answered for on one node: fingerprints with the time at which they were first seen."""

    accepted: Mapping[str, float] = field(default_factory=dict)
    others: Mapping[str, float] = field(default_factory=dict)

    def since(self, fingerprint: str) -> float | None:
        """When a line with that key was first seen; None for one that was not."""
        return self.accepted.get(fingerprint, self.others.get(fingerprint))


def fingerprint_of(blob: bytes) -> str:
    """``SHA256:…`` as OpenSSH writes it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


def explain(
    data: bytes,
    baseline: Baseline | None,
    own_blobs: Collection[str],
    known_grants: Collection[str],
    *,
    file: str = "authorized_keys",
) -> tuple[SeenLine, ...]:
    """Every key line of a file by what it is; without a baseline every operator's line counts as accepted."""
    own = {base64.b64decode(blob) for blob in own_blobs}
    found = []
    for line in inventory(data).lines:
        if line.is_key:
            found.append(_seen(line, baseline, own, known_grants, file))
    return tuple(found)


def _seen(
    line: KeyLine, baseline: Baseline | None, own: Collection[bytes], known: Collection[str], file: str
) -> SeenLine:
    fingerprint = fingerprint_of(line.blob)
    is_ours = line.kind is LineKind.OURS
    if line.blob in own:
        kind = "own"
    elif is_ours:
        ours = "authority" if line.holder == AUTHORITY_HOLDER else "grant"
        kind = ours if line.grant_id in known else "orphan"
    elif baseline is not None and fingerprint not in baseline.accepted:
        kind = "drift"
    else:
        kind = "leftover" if line.kind is LineKind.LEFTOVER else "operator"
    return SeenLine(
        kind,
        fingerprint,
        line.algorithm,
        failures.plain(line.holder),
        failures.plain(line.comment[: COMMENT_CHARS * 4], COMMENT_CHARS),
        file,
        line.grant_id if is_ours else "",
        line.expires_at_unix if is_ours else None,
        line.session_deadline_unix is not None,
        "" if is_ours else failures.plain(line.options[:800]),
        tuple(grant_id for grant_id, _ in line.guests),
    )


class DriftWatch:
    """Baselines in the store, and what was last reported of each node."""

    def __init__(self, keyvalue: KeyValueRepository, *, clock: Clock, emit: EventSink) -> None:
        self._keyvalue = keyvalue
        self._clock = clock
        self._emit = emit
        self._changing: WeakValueDictionary[NodeTarget, asyncio.Lock] = WeakValueDictionary()
        """One per node, held from reading its baseline to storing what follows from it."""
        self._baselines: dict[NodeTarget, Baseline] = {}
        self._reported: dict[NodeTarget, frozenset[str]] = {}
        self._lines: dict[NodeTarget, tuple[SeenLine, ...]] = {}
        self._others: dict[tuple[NodeTarget, str], tuple[SeenLine, ...]] = {}
        self._told: dict[NodeTarget, tuple[str, ...]] = {}

    async def see(
        self,
        target: NodeTarget,
        data: bytes,
        own_blobs: Collection[str],
        known_grants: Collection[str],
        *,
        others: OtherFiles | None = None,
        root: bytes | None = None,
    ) -> tuple[SeenLine, ...]:
        """Judge a node's file as it was just read; ``others`` is None when they were not read, and ``root`` is the
        root's file where it was read by its own way.

        The first reading of a node sets its baseline.
        """
        async with self._changing.setdefault(target, asyncio.Lock()):
            baseline = await self.baseline(target)
            lines = explain(data, baseline, own_blobs, known_grants)
            if others is not None:
                self._others[target, SECOND_FILE] = explain(others.second, baseline, own_blobs, (), file=SECOND_FILE)
                root = others.root if root is None else root
            if root is not None:
                self._others[target, ROOT_FILE] = explain(root, baseline, own_blobs, known_grants, file=ROOT_FILE)
            lines += self._others.get((target, ROOT_FILE), ()) + self._others.get((target, SECOND_FILE), ())
            self._lines[target] = lines
            if baseline is None:
                now = self._clock.now()
                accepted = {line.fingerprint: now for line in lines if line.kind in {"operator", "leftover"}}
                await self._save(target, Baseline(accepted))
                self._emit(BaselineAccepted(at=now, node_id=target.node_id, keys=len(accepted), first=True))
            else:
                await self._remember(target, baseline, lines)
            self._report(target, [line for line in lines if line.is_unexplained])
            self._tell(target)
            return lines

    async def baseline(self, target: NodeTarget) -> Baseline | None:
        """What the operator answers for there; None before the first reading."""
        if target not in self._baselines:
            record = await self._keyvalue.get(_key(target))
            if not isinstance(record, Mapping):
                return None
            self._baselines[target] = Baseline(_times(record.get("accepted")), _times(record.get("others")))
        return self._baselines[target]

    async def accept(self, target: NodeTarget, fingerprints: Collection[str] | None = None) -> tuple[str, ...]:
        """Take the lines that were last reported, or those of them with these fingerprints, into the baseline.

        Raises ControlRefused (``unknown_key``) for one that was not reported: nobody has seen it.
        """
        async with self._changing.setdefault(target, asyncio.Lock()):
            baseline = await self.baseline(target) or Baseline()
            reported = {line.fingerprint: line for line in self._lines.get(target, ()) if line.kind == "drift"}
            wanted = tuple(reported) if fingerprints is None else tuple(fingerprints)
            for fingerprint in wanted:
                if fingerprint not in reported:
                    raise ControlRefused(
                        f"no unexplained line with {failures.plain(fingerprint, 60)} is known there",
                        hint="look at the node's lines again",
                        reason="unknown_key",
                    )
            now = self._clock.now()
            accepted = {**baseline.accepted, **{one: baseline.since(one) or now for one in wanted}}
            others = {one: at for one, at in baseline.others.items() if one not in accepted}
            await self._save(target, Baseline(accepted, others))
            names = wanted[:SHOWN_LINES]
            self._emit(
                BaselineAccepted(at=now, node_id=target.node_id, keys=len(accepted), first=False, fingerprints=names)
            )
            self._lines[target] = tuple(
                replace(line, kind="operator") if line.kind == "drift" and line.fingerprint in wanted else line
                for line in self._lines.get(target, ())
            )
            for file in (SECOND_FILE, ROOT_FILE):
                self._others[target, file] = tuple(line for line in self._lines[target] if line.file == file)
            self._report(target, [line for line in self._lines[target] if line.is_unexplained])
            self._tell(target)
            return wanted

    def lines(self, target: NodeTarget) -> tuple[SeenLine, ...]:
        """What the last reading showed."""
        return self._lines.get(target, ())

    async def _remember(self, target: NodeTarget, baseline: Baseline, lines: Sequence[SeenLine]) -> None:
        """Keep when each unexplained line was first seen; write only when there is news."""
        now = self._clock.now()
        others = {line.fingerprint: baseline.since(line.fingerprint) or now for line in lines if line.is_unexplained}
        if others != baseline.others:
            await self._save(target, replace(baseline, others=others))

    async def _save(self, target: NodeTarget, baseline: Baseline) -> None:
        record = {"accepted": dict(baseline.accepted), "others": dict(baseline.others)}
        await self._keyvalue.put(_key(target), record)
        self._baselines[target] = baseline

    def _tell(self, target: NodeTarget) -> None:
        """Say what stands there when it is not what was said last; the ends of grants move too often for that."""
        baseline = self._baselines.get(target, Baseline())
        lines = tuple(_told(line, baseline.since(line.fingerprint)) for line in self._lines[target][:TOLD_LINES])
        if lines != self._told.get(target):
            self._told[target] = lines
            count = len(self._lines[target])
            self._emit(KeyLinesSeen(at=self._clock.now(), node_id=target.node_id, count=count, lines=lines))

    def _report(self, target: NodeTarget, lines: Sequence[SeenLine]) -> None:
        texts = frozenset(line.text for line in lines)
        if texts == self._reported.get(target, frozenset()):
            return
        self._reported[target] = texts
        shown = tuple(line.text for line in lines[:SHOWN_LINES])
        self._emit(DriftSeen(at=self._clock.now(), node_id=target.node_id, count=len(lines), lines=shown))


def _told(line: SeenLine, since: float | None) -> str:
    record = {
        "kind": line.kind, "fingerprint": line.fingerprint, "algorithm": line.algorithm, "holder": line.holder,
        "comment": line.comment, "file": line.file, "grant_id": line.grant_id,
        "since": None if line.grant_id or since is None else round(since),
    }  # fmt: skip
    return json.dumps({name: value for name, value in record.items() if value}, ensure_ascii=True)


def _times(value: object) -> dict[str, float]:
    if not isinstance(value, Mapping):
        return {}
    return {str(name): float(at) for name, at in value.items() if isinstance(at, int | float)}


def _key(target: NodeTarget) -> str:
    # An id may move to another host; what stood on the former one explains nothing there.
    return f"access.lines.{target.node_id}.{target.label}"
