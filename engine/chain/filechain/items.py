"""The storage items that can be read by name: those that the SDK looks at before it sets weights."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

from engine.chain.filechain import ledger


def _parameter(name: str, absent: object) -> Callable[..., Any]:
    def read(connection: sqlite3.Connection, netuid: int) -> Any:
        row = ledger.subnet(connection, netuid)
        return absent if row is None else row[name]

    return read


def _column(name: str, kind: type) -> Callable[..., Any]:
    def read(connection: sqlite3.Connection, netuid: int) -> list[Any]:
        return [kind(row[name]) for row in ledger.neurons_of(connection, netuid)]

    return read


def _uid(connection: sqlite3.Connection, netuid: int, hotkey: str) -> int | None:
    neuron = ledger.neuron_of(connection, netuid, hotkey)
    return None if neuron is None else int(neuron["uid"])


# "Module.item" to its reader: the open transaction, then the item's keys.
STORAGE: Mapping[str, Callable[..., Any]] = {
    "SubtensorModule.Uids": _uid,
    "SubtensorModule.LastUpdate": _column("last_update", int),
    "SubtensorModule.ValidatorPermit": _column("validator_permit", bool),
    "SubtensorModule.ServingRateLimit": _parameter("serving_rate_limit", 0),
    "SubtensorModule.WeightsSetRateLimit": _parameter("weights_rate_limit", 0),
    "SubtensorModule.MinAllowedWeights": _parameter("min_allowed_weights", 0),
    "SubtensorModule.MaxWeightsLimit": _parameter("max_weights_limit", None),
    # Weights are always plain here, and permits follow the ordinary rule.
    "SubtensorModule.CommitRevealWeightsEnabled": lambda connection, netuid: False,
    "SubtensorModule.SubnetEpochConsensus": lambda connection, netuid: "Yuma",
}
