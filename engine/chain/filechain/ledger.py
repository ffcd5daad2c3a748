"""What stands in the file, as functions over an open transaction: head, subnets, neurons, the metagraph record.

The head follows the wall clock, so no process has to make blocks. It never falls behind the last change, even if the
clock is moved back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.chain.models import RAO_PER_TAO

# The SS58 form of 32 zero bytes: nobody holds its key.
NOBODY = "5C4hrfjw9DjXZTzV3MwzrrAr9P1MJhSrvWGWqi1eSuyUpnhM"


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain stands. ``changed_block`` is the last block in which anything was written."""

    genesis: str
    number: int
    block_time_s: float
    changed_block: int


def read_head(connection: sqlite3.Connection, now: float) -> Head:
    """The head at that wall time."""
    row = connection.execute("SELECT genesis, genesis_at, block_time_s, changed_block FROM chain").fetchone()
    elapsed = int((now - row["genesis_at"]) / row["block_time_s"])
    # Block 1 is the first, as 0 stands for "never" in several columns of the network.
    number = max(1 + elapsed, row["changed_block"], 1)
    return Head(row["genesis"], number, row["block_time_s"], row["changed_block"])


def mark_changed(connection: sqlite3.Connection, block: int) -> None:
    """Record that this block changed the state."""
    connection.execute("UPDATE chain SET changed_block = max(changed_block, ?)", (block,))


def subnet(connection: sqlite3.Connection, netuid: int) -> sqlite3.Row | None:
    """The subnet's parameters, or None when it does not exist."""
    row: sqlite3.Row | None = connection.execute("SELECT * FROM subnets WHERE netuid = ?", (netuid,)).fetchone()
    return row


def neuron_of(connection: sqlite3.Connection, netuid: int, hotkey: str) -> sqlite3.Row | None:
    """The neuron with that hotkey, or None; a vacated uid belongs to nobody."""
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM neurons WHERE netuid = ? AND hotkey = ? AND vacant = 0", (netuid, hotkey)
    ).fetchone()
    return row


def neurons_of(connection: sqlite3.Connection, netuid: int) -> Sequence[sqlite3.Row]:
    """All uids in order, vacated ones included."""
    return connection.execute("SELECT * FROM neurons WHERE netuid = ? ORDER BY uid", (netuid,)).fetchall()


def weights_of(connection: sqlite3.Connection, netuid: int) -> dict[int, dict[int, int]]:
    """Raw u16 weights: setting uid to destination uid to value."""
    matrix: dict[int, dict[int, int]] = {}
    rows = connection.execute("SELECT uid, dest, value FROM weights WHERE netuid = ? ORDER BY uid, dest", (netuid,))
    for row in rows:
        matrix.setdefault(row["uid"], {})[row["dest"]] = row["value"]
    return matrix


def metagraph_record(connection: sqlite3.Connection, netuid: int, head: Head) -> Mapping[str, object] | None:
    """The subnet in the shape of ``SubnetInfoRuntimeApi.get_metagraph``, without what this chain does not keep.

    No epoch ever runs here, there is no pool and no owner: those fields say so rather than being made up.
    """
    parameters = subnet(connection, netuid)
    if parameters is None:
        return None
    rows = neurons_of(connection, netuid)

    def column(name: str) -> list[int]:
        return [row[name] for row in rows]

    def flags(name: str) -> list[bool]:
        return [bool(row[name]) for row in rows]

    stakes = column("stake_rao")
    return {
        "netuid": netuid,
        "name": f"embedded subnet {netuid}",
        "symbol": "",
        "block": head.number,
        "network_registered_at": parameters["created_block"],
        "tempo": parameters["tempo"],
        "last_step": 0,
        "blocks_since_last_step": head.number,
        "owner_hotkey": NOBODY,
        "owner_coldkey": NOBODY,
        "identity": None,
        "num_uids": len(rows),
        "max_uids": parameters["max_uids"],
        "serving_rate_limit": parameters["serving_rate_limit"],
        "weights_rate_limit": parameters["weights_rate_limit"],
        "hotkeys": [row["hotkey"] for row in rows],
        "coldkeys": [row["coldkey"] for row in rows],
        "identities": [None] * len(rows),
        "axons": [_axon_record(row) for row in rows],
        "active": flags("active"),
        "validator_permit": flags("validator_permit"),
        "last_update": column("last_update"),
        "block_at_registration": column("registered_block"),
        "incentives": column("incentive"),
        "dividends": column("dividends"),
        "trust": column("trust"),
        "consensus": column("consensus"),
        "emission": column("emission_rao"),
        "alpha_stake": stakes,
        "tao_stake": [0] * len(rows),
        "total_stake": stakes,
    }


def to_rao(tao: float) -> int:
    """TAO as whole rao; raises ValueError for what SQLite could not hold."""
    rao = round(tao * RAO_PER_TAO)
    if not 0 <= rao < 1 << 63:
        raise ValueError(f"{tao} TAO is out of range")
    return rao


def _axon_record(row: sqlite3.Row) -> dict[str, int]:
    return {
        "block": row["served_block"] or 0,
        "version": row["axon_version"],
        "ip": int(row["axon_ip"]),  # kept as text: 128 bits do not fit SQLite's integers
        "port": row["axon_port"],
        "ip_type": row["axon_ip_type"],
        "protocol": row["axon_protocol"],
        "placeholder1": 0,
        "placeholder2": 0,
    }
