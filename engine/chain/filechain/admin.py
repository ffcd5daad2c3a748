"""Arranging an embedded chain by hand: subnets, neurons, stakes, permits, scores. For localnet, demo and tests.

These are not calls of the network and need no signature; being able to write the file is the permission.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time

from engine.chain.filechain import ledger, storage
from engine.errors import ChainRefused

_U16_MAX = 65535
_PARAMETERS = frozenset(
    {"tempo", "max_uids", "serving_rate_limit", "weights_rate_limit", "min_allowed_weights", "max_weights_limit"}
)
_SCORES = frozenset({"incentive", "dividends", "trust", "consensus"})


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A signed call that stands in a block; ``error`` is the network's name for why it failed, or empty."""

    block: int
    signer: str
    call: str
    error: str
    payload: bytes
    signature: bytes


class FileChainAdmin:
    """The chain in ``path``. Every method raises ``ChainUnavailable`` when the file is missing or unusable and
    ``ChainRefused`` when it has no such subnet or neuron."""

    def __init__(self, path: Path, *, now: Callable[[], float] = time) -> None:
        self.path = Path(path)
        self._now = now

    def create(
        self,
        netuids: Iterable[int],
        block_time_s: float = 12.0,
        *,
        serving_rate_limit: int = 50,
        weights_rate_limit: int = 100,
    ) -> None:
        """A new chain with these empty subnets; the limits are in blocks, with the network's usual values."""
        if block_time_s <= 0:
            raise ChainRefused("block_time_s must be above 0")
        values = {
            "tempo": 360,
            "max_uids": 256,
            "serving_rate_limit": serving_rate_limit,
            "weights_rate_limit": weights_rate_limit,
            "min_allowed_weights": 0,
            "max_weights_limit": _U16_MAX,
        }
        storage.create_file(
            self.path,
            genesis_at=self._now(),
            block_time_s=block_time_s,
            subnets=[{"netuid": netuid, **values} for netuid in netuids],
        )

    def register(
        self, netuid: int, hotkey: str, coldkey: str, stake_tao: float = 0.0, validator_permit: bool = False
    ) -> int:
        """Give the hotkey a uid (a vacated one first); returns it. Refused if the hotkey has one."""
        _check_address(hotkey)
        _check_address(coldkey)
        with self._changing(netuid) as (connection, head):
            if ledger.neuron_of(connection, netuid, hotkey) is not None:
                raise ChainRefused(f"hotkey {hotkey} is registered on netuid {netuid} already")
            rows = ledger.neurons_of(connection, netuid)
            parameters = ledger.subnet(connection, netuid)
            uid = next((int(row["uid"]) for row in rows if row["vacant"]), len(rows))
            if parameters is None or uid >= parameters["max_uids"]:
                raise ChainRefused(f"netuid {netuid} is full")
            connection.execute("DELETE FROM neurons WHERE netuid = ? AND uid = ?", (netuid, uid))
            connection.execute(
                "INSERT INTO neurons (netuid, uid, hotkey, coldkey, stake_rao, validator_permit, registered_block,"
                " last_update) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (netuid, uid, hotkey, coldkey, _rao(stake_tao), validator_permit, head.number, head.number),
            )
        return uid

    def set_stake(self, netuid: int, hotkey: str, stake_tao: float) -> None:
        """Total stake on the subnet."""
        self._update(netuid, hotkey, "stake_rao", _rao(stake_tao))

    def set_permit(self, netuid: int, hotkey: str, validator_permit: bool) -> None:
        """Give or take the validator permit; this chain never computes it."""
        self._update(netuid, hotkey, "validator_permit", int(validator_permit))

    def set_score(self, netuid: int, hotkey: str, name: str, value: float) -> None:
        """``incentive``, ``dividends``, ``trust`` or ``consensus``, 0 to 1; no epoch computes them here."""
        if name not in _SCORES or not 0 <= value <= 1:
            raise ChainRefused(f"{name} = {value} is not one of {', '.join(sorted(_SCORES))} from 0 to 1")
        self._update(netuid, hotkey, name, round(value * _U16_MAX))

    def set_emission(self, netuid: int, hotkey: str, emission_tao: float) -> None:
        """What the metagraph shows as emission."""
        self._update(netuid, hotkey, "emission_rao", _rao(emission_tao))

    def set_parameter(self, netuid: int, name: str, value: int) -> None:
        """One of the subnet's parameters, such as ``serving_rate_limit`` (blocks)."""
        if name not in _PARAMETERS or not 0 <= value <= _U16_MAX:
            raise ChainRefused(f"{name} = {value} is not one of {', '.join(sorted(_PARAMETERS))} from 0 to 65535")
        with self._changing(netuid) as (connection, _):
            connection.execute(f"UPDATE subnets SET {name} = ? WHERE netuid = ?", (value, netuid))  # noqa: S608 - listed

    def remove(self, netuid: int, hotkey: str) -> None:
        """Deregister. As on the network the uid stays and another key takes it: one that nobody holds."""
        with self._changing(netuid) as (connection, head):
            uid = self._uid(connection, netuid, hotkey)
            connection.execute("DELETE FROM weights WHERE netuid = ? AND uid = ?", (netuid, uid))
            connection.execute("DELETE FROM neurons WHERE netuid = ? AND uid = ?", (netuid, uid))
            connection.execute(
                "INSERT INTO neurons (netuid, uid, hotkey, coldkey, vacant, stake_rao, validator_permit, active,"
                " registered_block, last_update) VALUES (?, ?, ?, ?, 1, 0, 0, 0, ?, ?)",
                (netuid, uid, _unheld_address(), ledger.NOBODY, head.number, head.number),
            )

    def weights(self, netuid: int) -> dict[int, dict[int, int]]:
        """Raw u16 weights as set: validator's uid to miner's uid to value."""
        with storage.reading(self.path) as connection:
            self._require(connection, netuid)
            return ledger.weights_of(connection, netuid)

    def calls(self) -> tuple[CallRecord, ...]:
        """The signed calls in the file (the latest 10,000), oldest first."""
        with storage.reading(self.path) as connection:
            rows = connection.execute("SELECT * FROM extrinsics ORDER BY id").fetchall()
        return tuple(
            CallRecord(
                block=row["block"],
                signer=row["signer"],
                call=json.loads(row["payload"])["call"],
                error=row["error"] or "",
                payload=row["payload"],
                signature=row["signature"],
            )
            for row in rows
        )

    def block_number(self) -> int:
        """Height of the head now."""
        with storage.reading(self.path) as connection:
            return ledger.read_head(connection, self._now()).number

    def _update(self, netuid: int, hotkey: str, column: str, value: int) -> None:
        with self._changing(netuid) as (connection, _):
            uid = self._uid(connection, netuid, hotkey)
            statement = f"UPDATE neurons SET {column} = ? WHERE netuid = ? AND uid = ?"  # noqa: S608 - our own names
            connection.execute(statement, (value, netuid, uid))

    @contextmanager
    def _changing(self, netuid: int) -> Iterator[tuple[sqlite3.Connection, ledger.Head]]:
        with storage.writing(self.path) as connection:
            self._require(connection, netuid)
            head = ledger.read_head(connection, self._now())
            yield connection, head
            ledger.mark_changed(connection, head.number)

    @staticmethod
    def _require(connection: sqlite3.Connection, netuid: int) -> None:
        if ledger.subnet(connection, netuid) is None:
            raise ChainRefused(f"the embedded chain has no subnet {netuid}")

    @staticmethod
    def _uid(connection: sqlite3.Connection, netuid: int, hotkey: str) -> int:
        neuron = ledger.neuron_of(connection, netuid, hotkey)
        if neuron is None:
            raise ChainRefused(f"hotkey {hotkey} is not registered on netuid {netuid}")
        return int(neuron["uid"])


def _rao(tao: float) -> int:
    try:
        return ledger.to_rao(tao)
    except (ValueError, OverflowError) as error:
        raise ChainRefused(str(error)) from error


def _check_address(address: str) -> None:
    from bittensor import sp_core  # noqa: PLC0415 - the SDK takes most of a second to import

    try:
        public_key = bytes(sp_core.ss58_decode(address))
    except (ValueError, TypeError, sp_core.KeyfileError) as error:
        raise ChainRefused(f"{address!r} is not an SS58 address") from error
    if sp_core.ss58_encode(public_key, ss58_format=42) != address:
        raise ChainRefused(f"{address!r} is not an address with prefix 42")


def _unheld_address() -> str:
    from bittensor import sp_core  # noqa: PLC0415 - as above

    return str(sp_core.ss58_encode(secrets.token_bytes(32), ss58_format=42))
