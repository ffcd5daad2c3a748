"""A call with its signature: the exact bytes that a hotkey signs, their proof, and their place in a block.

The payload names the chain, the signer, the signer's nonce and the block it was made at, so a signature is good for
one call on one chain, once, for a limited time. Payload and signature stay in the file as evidence.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from engine.chain.filechain import calls, ledger

KEPT_EXTRINSICS = 10_000
_CRYPTO_TYPES = frozenset({0, 1})  # ed25519, sr25519


class ExtrinsicRefused(Exception):
    """The extrinsic never entered a block; ``name`` is the transaction error's name on the network."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the extrinsic stands; ``error`` and ``message`` are empty when it took effect."""

    block: int
    position: int
    error: str = ""
    message: str = ""


def payload_for(
    *, genesis: str, name: str, params: Mapping[str, object], signer: str, nonce: int, block: int, period: int | None
) -> bytes:
    """The bytes to sign: canonical JSON."""
    value = {
        "call": name,
        "params": dict(params),
        "chain": genesis,
        "signer": signer,
        "nonce": nonce,
        "block": block,
        "period": period,
    }
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def next_nonce(connection: sqlite3.Connection, address: str) -> int:
    """How many extrinsics of this account stand in blocks."""
    row = connection.execute("SELECT nonce FROM accounts WHERE address = ?", (address,)).fetchone()
    return 0 if row is None else int(row["nonce"])


def apply(
    connection: sqlite3.Connection,
    head: ledger.Head,
    *,
    signer: str,
    crypto_type: int,
    payload: bytes,
    signature: bytes,
) -> Outcome:
    """Check the signature, then execute and record in the head block; needs a writing transaction.

    Raises ``ExtrinsicRefused`` when it may not enter a block. A call that enters and fails uses up its nonce and
    changes nothing else, as on the network.
    """
    if not _is_signed(signer, crypto_type, payload, signature):
        raise ExtrinsicRefused("BadProof", f"the signature is not by {signer}")
    # Only what was signed is executed: everything below comes out of the proven bytes.
    value = json.loads(payload)
    if value["chain"] != head.genesis or value["signer"] != signer:
        raise ExtrinsicRefused("BadProof", "signed for another chain or another account")
    nonce = next_nonce(connection, signer)
    if value["nonce"] != nonce:
        name = "Stale" if value["nonce"] < nonce else "Future"
        raise ExtrinsicRefused(name, f"nonce {value['nonce']}, expected {nonce}")
    if value["period"] is not None and not 0 <= head.number - value["block"] <= value["period"]:
        raise ExtrinsicRefused("AncientBirthBlock", "the extrinsic's time is over")

    connection.execute("SAVEPOINT call")
    error = message = ""
    try:
        calls.execute(connection, head, signer, value["call"], value["params"])
    except calls.CallFailed as failure:
        connection.execute("ROLLBACK TO call")
        error, message = failure.name, failure.message
    connection.execute("RELEASE call")
    connection.execute(
        "INSERT INTO accounts VALUES (?, ?) ON CONFLICT (address) DO UPDATE SET nonce = excluded.nonce",
        (signer, nonce + 1),
    )
    position = connection.execute("SELECT count(*) FROM extrinsics WHERE block = ?", (head.number,)).fetchone()[0]
    cursor = connection.execute(
        "INSERT INTO extrinsics (block, position, signer, crypto_type, payload, signature, error)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (head.number, position, signer, crypto_type, payload, signature, error or None),
    )
    connection.execute("DELETE FROM extrinsics WHERE id <= ?", ((cursor.lastrowid or 0) - KEPT_EXTRINSICS,))
    ledger.mark_changed(connection, head.number)
    return Outcome(head.number, position, error, message)


def _is_signed(signer: str, crypto_type: int, payload: bytes, signature: bytes) -> bool:
    from bittensor import sp_core  # noqa: PLC0415 - the SDK takes most of a second to import

    if crypto_type not in _CRYPTO_TYPES:
        return False
    try:
        return bool(sp_core.verify(payload, signature, signer, crypto_type=crypto_type))
    except (ValueError, TypeError, sp_core.KeyfileError):
        return False
