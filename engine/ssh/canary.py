"""Proof that a node's sshd honours our key lines: a throw-away key that must work, then one that must not."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from engine.errors import KeyFileRefused, SshAuthFailed
from engine.ssh.authorized_keys import Change, Refusal, WantedKey, plan_change
from engine.ssh.capability import NodeCapability, expiry_texts
from engine.ssh.keyfile import edit_key_file
from engine.ssh.keys import ClientKey
from engine.ssh.pool import NodePool
from engine.ssh.target import NodeTarget

HOLDER = "renter-canary"
_LIFETIME_S = 300


async def prove_expiry(pool: NodePool, target: NodeTarget, capability: NodeCapability) -> bool:
    """Whether a key with a future expiry opens the node and one with a past expiry does not.

    The good key goes first and each is tried once, so that the node sees a single refused login. True means "ends
    on the node by itself"; False means that only removal ends access. Both lines are gone afterwards.
    """
    if capability.expiry_form == "none":
        return False
    now = int(pool.clock.now())
    times = (now + _LIFETIME_S, now - _LIFETIME_S)
    texts = await expiry_texts(pool, target, capability, times)
    keys = [ClientKey.generate(HOLDER) for _ in times]
    wanted = [
        WantedKey(f"canary-{secrets.token_hex(6)}", HOLDER, key.algorithm, key.blob_base64, at, texts[at])
        for key, at in zip(keys, times, strict=True)
    ]
    try:
        await _write(pool, target, wanted, wanted)
        is_future_good = await _opens(pool, target, keys[0])
        return is_future_good and not await _opens(pool, target, keys[1])
    finally:
        await _write(pool, target, [], wanted)


async def _write(pool: NodePool, target: NodeTarget, keys: Sequence[WantedKey], managed: Sequence[WantedKey]) -> None:
    def plan(old: bytes) -> Change | Refusal:
        return plan_change(old, keys, {pool.key.blob_base64}, managed_ids=[one.grant_id for one in managed])

    edited = await edit_key_file(pool, target, plan)
    if edited.change.refused:
        raise KeyFileRefused("the canary key was refused", reason=edited.change.refused[0].reason)


async def _opens(pool: NodePool, target: NodeTarget, key: ClientKey) -> bool:
    visitor = pool.with_key(key)
    try:
        return (await visitor.run(target, "true", timeout_s=10.0)).exit_status == 0
    except SshAuthFailed:
        return False
    finally:
        await visitor.close()
