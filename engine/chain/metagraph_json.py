"""A metagraph as JSON-native values, so that the last good one survives a restart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from engine.chain.models import Axon, Metagraph, Neuron

_NUMBER = (int, float)
_AXON_TYPES: Mapping[str, type | tuple[type, ...]] = {"ip": str, "port": int, "protocol": int, "version": int}
_NEURON_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "uid": int,
    "hotkey": str,
    "coldkey": str,
    "stake_tao": _NUMBER,
    "validator_permit": bool,
    "active": bool,
    "incentive": _NUMBER,
    "dividends": _NUMBER,
    "trust": _NUMBER,
    "consensus": _NUMBER,
    "emission_tao": _NUMBER,
    "last_update": int,
}
assert {"axon", "registered_block", *_NEURON_TYPES} == {field.name for field in fields(Neuron)}


def metagraph_to_json(metagraph: Metagraph) -> dict[str, object]:
    """Dictionaries, lists, text, numbers, booleans and null only."""
    return {
        "netuid": metagraph.netuid,
        "block": metagraph.block,
        "immunity_blocks": metagraph.immunity_blocks,
        "neurons": [asdict(neuron) for neuron in metagraph.neurons],
    }


def metagraph_from_json(value: object) -> Metagraph:
    """The inverse; raises ValueError for anything that ``metagraph_to_json`` did not write."""
    record = _record(value, {"netuid": int, "block": int, "neurons": list})
    neurons = []
    for row in record["neurons"]:
        columns = _record(row, _NEURON_TYPES)
        axon = row.get("axon")
        served = None if axon is None else Axon(**_record(axon, _AXON_TYPES))
        neurons.append(Neuron(axon=served, registered_block=_maybe(row, "registered_block"), **columns))
    return Metagraph(
        netuid=record["netuid"],
        block=record["block"],
        neurons=tuple(neurons),
        immunity_blocks=_maybe(value, "immunity_blocks"),
    )


def _record(value: object, types: Mapping[str, type | tuple[type, ...]]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"expected an object, found {type(value).__name__}")
    for name, kind in types.items():
        found = value.get(name)
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
            raise ValueError(f"{name} has an unexpected value")
    return {name: value[name] for name in types}


def _maybe(value: object, name: str) -> int | None:
    """A number that earlier versions did not write."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None
