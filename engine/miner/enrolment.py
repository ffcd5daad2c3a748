"""Getting to know a node before it holds keys of others: tools, clock, key file, and two canary logins.

What the canary showed is kept in the store and holds for that address, banner and host key; tools and clock are
measured again every ten minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from engine.clock import Clock
from engine.events import ClockSkewSeen, EventSink, NodeEnrolled
from engine.miner.capabilities import LASTING, Enrolled, SkewLevel, judge, skew_level
from engine.ssh.canary import Verdict, prove_certificates, prove_expiry
from engine.ssh.capability import NodeCapability, probe_capability
from engine.ssh.keyfile import read_key_file
from engine.ssh.pool import ConnectionInfo, NodePool
from engine.ssh.target import NodeTarget, RootFile
from engine.store.keyvalue import KeyValueRepository

REMEASURE_S = 600.0
UNCLEAR_S = 60.0
"""A canary whose logins said nothing is sent again at the first visit after this."""


Identity = tuple[str, ...]
"""Address, banner and host key: what a verdict holds for; and the key file, if it is not the account's own."""


@dataclass(frozen=True, slots=True)
class _Proof:
    """What the canary showed, and the key file as it was then."""

    verdict: Verdict
    key_file: str
    key_file_mode: str
    opens_to_certificates: bool | None = None
    """None as long as nobody needed to know."""


@dataclass(frozen=True, slots=True)
class _Known:
    identity: Identity
    measured_at: float
    enrolled: Enrolled
    with_certificates: bool = False
    is_unclear: bool = False


class Enrolment:
    """The capability record of every node; the reconciler asks it before each change, under the node's lock."""

    def __init__(
        self,
        pool: NodePool,
        keyvalue: KeyValueRepository,
        *,
        clock: Clock,
        emit: EventSink,
        needs_certificates: Callable[[], bool] = lambda: False,
    ) -> None:
        self._needs_certificates = needs_certificates
        self._pool = pool
        self._keyvalue = keyvalue
        self._clock = clock
        self._emit = emit
        self._known: dict[str, _Known] = {}
        self._skew: dict[str, SkewLevel] = {}

    async def enrolled(self, target: NodeTarget, root: RootFile | None = None) -> Enrolled:
        """See ``CapabilitySource``; the first time for a node and a key file its canary is sent."""
        identity = _identity(target, await self._pool.connect(target), root)
        known = self._known.get(target.node_id)
        needs_certificates = self._needs_certificates()
        if known is not None and known.identity == identity and not self._is_stale(known, needs_certificates):
            return known.enrolled
        capability = await probe_capability(self._pool, target)
        stored = await self._stored(target, identity)
        proof = stored or await self._prove(target, identity, capability, root)
        is_asked = needs_certificates and proof.opens_to_certificates is None and proof.verdict is Verdict.PROVED
        if is_asked:
            opens = await prove_certificates(self._pool, target, capability, root)
            proof = replace(proof, opens_to_certificates=opens)
            await self._keep(target, identity, proof)
        can_certify = proof.opens_to_certificates is True
        enrolled = judge(target, capability, proof.verdict, root, can_certify=can_certify)
        is_unclear = proof.verdict is Verdict.UNCLEAR
        self._known[target.node_id] = _Known(
            identity, self._clock.monotonic(), enrolled, needs_certificates, is_unclear
        )
        self._say(target, enrolled, proof, canary=stored is None or is_asked)
        return enrolled

    def knows(self, node_id: str) -> bool:
        """See ``CapabilitySource``."""
        return node_id in self._known

    def ask_again(self, node_id: str) -> None:
        """The operator has changed something: measure at the next visit, not in ten minutes."""
        self._known.pop(node_id, None)

    def _is_stale(self, known: _Known, needs_certificates: bool) -> bool:
        if needs_certificates and not known.with_certificates:
            return True
        refusal = known.enrolled.refusal
        if refusal is not None and refusal.reason == "clock_skew":
            return True  # one cheap question, and the node serves again as soon as its clock is right
        return self._clock.monotonic() - known.measured_at >= (UNCLEAR_S if known.is_unclear else REMEASURE_S)

    async def _stored(self, target: NodeTarget, identity: Identity) -> _Proof | None:
        record = await self._keyvalue.get(_key(target))
        if not isinstance(record, Mapping) or record.get("identity") != list(identity):
            return None
        try:
            verdict = Verdict(record.get("verdict"))
        except ValueError:
            return None
        if verdict not in LASTING:
            return None
        opens = record.get("certificates")
        return _Proof(
            verdict,
            str(record.get("key_file", "")),
            str(record.get("key_file_mode", "")),
            opens if isinstance(opens, bool) else None,
        )

    async def _prove(
        self, target: NodeTarget, identity: Identity, capability: NodeCapability, root: RootFile | None
    ) -> _Proof:
        state = await read_key_file(self._pool, root or target)
        proof = _Proof(await prove_expiry(self._pool, target, capability, root), state.path, state.mode)
        await self._keep(target, identity, proof)
        return proof

    async def _keep(self, target: NodeTarget, identity: Identity, proof: _Proof) -> None:
        record = {
            "identity": list(identity),
            "verdict": proof.verdict.value,
            "key_file": proof.key_file,
            "key_file_mode": proof.key_file_mode,
            "certificates": proof.opens_to_certificates,
            "at": self._clock.now(),
        }
        await self._keyvalue.put(_key(target), record)

    def _say(self, target: NodeTarget, enrolled: Enrolled, proof: _Proof, *, canary: bool) -> None:
        capability, now = enrolled.capability, self._clock.now()
        self._emit(
            NodeEnrolled(
                at=now,
                node_id=target.node_id,
                sshd_version=capability.server_version,
                expiry_form=capability.expiry_form,
                expiry_enforced=enrolled.enforced,
                clock_skew_s=round(capability.clock_skew_s, 3),
                tools=tuple(sorted(capability.tools)),
                key_file=proof.key_file,
                key_file_mode=proof.key_file_mode,
                can_wrap=enrolled.can_wrap,
                refusal=enrolled.refusal.reason if enrolled.refusal else "",
                message=enrolled.refusal.message if enrolled.refusal else "",
                can_certify=enrolled.can_certify,
                canary=canary,
            )
        )
        level = skew_level(capability.clock_skew_s)
        if self._skew.get(target.node_id, "ok") != level:
            self._emit(
                ClockSkewSeen(at=now, node_id=target.node_id, skew_s=round(capability.clock_skew_s, 1), level=level)
            )
        self._skew[target.node_id] = level


def _identity(target: NodeTarget, info: ConnectionInfo, root: RootFile | None) -> Identity:
    identity = (target.label, info.server_version, info.host_key_fingerprint)
    return identity if root is None else (*identity, root.path)


def _key(target: NodeTarget) -> str:
    return f"access.enrolment.{target.node_id}"
