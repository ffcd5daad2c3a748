"""Proof that a node's sshd honours our key lines: a throw-away key that must work, then one that must not."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from engine.errors import KeyFileRefused, SshAuthFailed, SshFailure
from engine.ssh.authorized_keys import Change, Refusal, WantedKey, plan_change
from engine.ssh.capability import Deadline, NodeCapability, deadlines
from engine.ssh.certificates import Authority, GuestCertificate, read_guest_certificate
from engine.ssh.keyfile import edit_key_file
from engine.ssh.keylines import AUTHORITY_HOLDER
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool
from engine.ssh.target import KeyPlace, NodeTarget

HOLDER = "renter-canary"
_LIFETIME_S = 300
_SLOWER = 3.0
"""How much longer than the engine's own login one of a trial key may take before it counts as one that says nothing."""


class Verdict(enum.Enum):
    """What two logins showed."""

    PROVED = "proved"
    """The key with a future expiry opened the node and the one with a past expiry did not."""
    OPENS = "opens"
    """The node knows no expiry; a key without one opened it."""
    NOT_ENFORCED = "not_enforced"
    """The key whose time was over opened the node as well."""
    NOT_READ = "not_read"
    """A good key in the key file did not open the node: its sshd reads another file, or forbids such keys."""
    UNCLEAR = "unclear"
    """A login failed for a reason that says nothing about keys."""


def canary_ids(own_blobs: Iterable[str], target: NodeTarget) -> tuple[str, ...]:
    """The grant ids that canaries of this engine carry on this node, so that one left by a crash is recognised."""
    words = [hashlib.sha256(f"{blob}|{target.node_id}".encode()).hexdigest()[:12] for blob in sorted(own_blobs)]
    return tuple(f"canary-{word}-{part}" for word in words for part in ("future", "past", "authority"))


async def prove_expiry(
    pool: NodePool, target: NodeTarget, capability: NodeCapability, place: KeyPlace | None = None
) -> Verdict:
    """Try on the node itself what its key lines are worth, in the account's own file or in ``place``.

    The good key goes first and each is tried once, so that the node sees a single refused login. Both lines are gone
    afterwards. Raises KeyFileRefused and SshFailure when the lines cannot be written or removed.
    """
    now = int(pool.clock.now())
    # Without expiry on the node a second key could only repeat the first.
    times = (now + _LIFETIME_S, now - _LIFETIME_S) if capability.expiry_form != "none" else (now + _LIFETIME_S,)
    ends = await deadlines(pool, target, capability, times)
    keys = [ClientKey.generate(HOLDER) for _ in times]
    ids = canary_ids({pool.key.blob_base64}, target)
    wanted = [_wanted(grant_id, key, at, ends[at]) for grant_id, key, at in zip(ids, keys, times, strict=False)]
    try:
        await _write(pool, place or target, wanted, ids)
        return await _try(pool, target, keys)
    finally:
        await _write(pool, place or target, [], ids)


async def prove_certificates(
    pool: NodePool, target: NodeTarget, capability: NodeCapability, place: KeyPlace | None = None
) -> bool | None:
    """Whether a certificate opens the node when its authority stands in the key file; None when a login says nothing.

    Authority and key are made for this one login. Raises KeyFileRefused and SshFailure as ``prove_expiry``.
    """
    now = int(pool.clock.now())
    end = (await deadlines(pool, target, capability, [now + _LIFETIME_S]))[now + _LIFETIME_S]
    authority, key = ClientKey.generate(HOLDER), ClientKey.generate(HOLDER)
    ids = canary_ids({pool.key.blob_base64}, target)
    line = replace(
        _wanted(ids[2], authority, now + _LIFETIME_S, end), holder=AUTHORITY_HOLDER, guests=((ids[2], end.unix),)
    )
    issued = Authority(authority, authority).certify_guest(
        grant_id=ids[2],
        holder=HOLDER,
        algorithm=key.algorithm,
        blob_base64=key.blob_base64,
        now_unix=end.unix - _LIFETIME_S,
        end_unix=end.unix,
        is_wrapped=False,
    )
    try:
        await _write(pool, place or target, [line], ids)
        return await _opens(pool, target, key, read_guest_certificate(issued.text, key))
    except SshFailure:
        return None
    finally:
        await _write(pool, place or target, [], ids)


def _wanted(grant_id: str, key: ClientKey, at: int, end: Deadline) -> WantedKey:
    return WantedKey(grant_id, HOLDER, key.algorithm, key.blob_base64, at, end.expiry_text)


async def _try(pool: NodePool, target: NodeTarget, keys: Sequence[ClientKey]) -> Verdict:
    try:
        if not await _opens(pool, target, keys[0]):
            return Verdict.NOT_READ
        if len(keys) == 1:
            return Verdict.OPENS
        return Verdict.NOT_ENFORCED if await _opens(pool, target, keys[1]) else Verdict.PROVED
    except SshFailure:
        return Verdict.UNCLEAR


async def _write(pool: NodePool, place: KeyPlace, keys: Sequence[WantedKey], ids: Sequence[str]) -> None:
    def plan(old: bytes) -> Change | Refusal:
        return plan_change(old, keys, pool.own_blobs, managed_ids=ids)

    edited = await edit_key_file(pool, place, plan)
    if edited.change.refused:
        raise KeyFileRefused("the canary key was refused", reason=edited.change.refused[0].reason)


async def _opens(
    pool: NodePool, target: NodeTarget, key: ClientKey, certificate: GuestCertificate | None = None
) -> bool:
    own_login_s = (await pool.connect(target)).login_s
    visitor = pool.with_key(key, auth_timeout_s=max(pool.limits.auth_timeout_s, own_login_s * _SLOWER))
    visitor.present(target, certificate)
    try:
        return (await visitor.run(target, "true", timeout_s=10.0)).exit_status == 0
    except SshAuthFailed:
        return False
    finally:
        await visitor.close()
