"""The two calls that this chain executes, with the network's checks in the network's order and names.

One rule differs on purpose: loopback addresses may be served, because everything on this chain is on one machine.
"""

from __future__ import annotations

import ipaddress
import sqlite3
from collections.abc import Callable, Mapping, Sequence

from engine.chain.filechain import ledger

_U16_MAX = 65535
_U128 = 1 << 128


class CallFailed(Exception):
    """The call was executed and refused; ``name`` is the error's name on the network."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name
        self.message = message


Call = Callable[[sqlite3.Connection, ledger.Head, str, Mapping[str, object]], None]


def execute(
    connection: sqlite3.Connection, head: ledger.Head, signer: str, name: str, params: Mapping[str, object]
) -> None:
    """Apply ``Module.function`` as that proven signer; raises ``CallFailed`` with nothing changed."""
    call = _CALLS.get(name)
    if call is None:
        raise CallFailed("CallFiltered", f"the embedded chain does not implement {name}")
    call(connection, head, signer, params)


def implements(name: str) -> bool:
    """Whether ``Module.function`` exists here."""
    return name in _CALLS


def _serve_axon(connection: sqlite3.Connection, head: ledger.Head, signer: str, params: Mapping[str, object]) -> None:
    netuid, ip, port = _number(params, "netuid"), _number(params, "ip", _U128 - 1), _number(params, "port")
    ip_type, protocol = _number(params, "ip_type", 255), _number(params, "protocol", 255)
    version = _number(params, "version", (1 << 32) - 1)
    parameters = ledger.subnet(connection, netuid)
    neuron = ledger.neuron_of(connection, netuid, signer)
    if parameters is None or neuron is None:
        raise CallFailed("HotKeyNotRegisteredInNetwork", f"hotkey {signer} is not registered on netuid {netuid}")
    if ip_type not in {4, 6}:
        raise CallFailed("InvalidIpType", f"IP type {ip_type} is neither 4 nor 6")
    if not _can_be_served(ip, ip_type):
        raise CallFailed("InvalidIpAddress", "this address cannot be served")
    limit, served = parameters["serving_rate_limit"], neuron["served_block"]
    if served is not None and head.number - served < limit:
        wait = limit - (head.number - served)
        raise CallFailed(
            "ServingRateLimitExceeded",
            f"an axon may be served every {limit} blocks; {wait} to go (about {wait * head.block_time_s:.0f} s)",
        )
    if port == 0:
        raise CallFailed("InvalidPort", "port 0 cannot be served")
    connection.execute(
        "UPDATE neurons SET axon_ip = ?, axon_ip_type = ?, axon_port = ?, axon_protocol = ?, axon_version = ?,"
        " served_block = ? WHERE netuid = ? AND uid = ?",
        (str(ip), ip_type, port, protocol, version, head.number, netuid, neuron["uid"]),
    )


def _set_weights(connection: sqlite3.Connection, head: ledger.Head, signer: str, params: Mapping[str, object]) -> None:
    netuid = _number(params, "netuid")
    dests, values = _numbers(params, "dests"), _numbers(params, "weights")
    parameters = ledger.subnet(connection, netuid)
    if parameters is None or _number(params, "mecid", 255) != 0:
        raise CallFailed("MechanismDoesNotExist", f"netuid {netuid} or its mechanism does not exist")
    if len(dests) != len(values):
        raise CallFailed("WeightVecNotEqualSize", "as many weights as uids are needed")
    uids = {row["uid"] for row in ledger.neurons_of(connection, netuid)}
    if len(dests) > len(uids):
        raise CallFailed("UidsLengthExceedUidsInSubNet", "more weights than neurons")
    neuron = ledger.neuron_of(connection, netuid, signer)
    if neuron is None:
        raise CallFailed("HotKeyNotRegisteredInSubNet", f"hotkey {signer} is not registered on netuid {netuid}")
    uid, limit = neuron["uid"], parameters["weights_rate_limit"]
    if neuron["last_update"] and head.number - neuron["last_update"] < limit:
        raise CallFailed("SettingWeightsTooFast", f"weights may be set every {limit} blocks")
    is_self_weight = dests == [uid]
    if not neuron["validator_permit"] and not is_self_weight:
        raise CallFailed("NeuronNoValidatorPermit", f"uid {uid} has no validator permit on netuid {netuid}")
    if len(set(dests)) != len(dests):
        raise CallFailed("DuplicateUids", "a uid appears twice")
    if not set(dests) <= uids:
        raise CallFailed("UidVecContainInvalidOne", "a uid does not exist on this subnet")
    if not is_self_weight and len(dests) < parameters["min_allowed_weights"]:
        raise CallFailed("WeightVecLengthIsLow", f"at least {parameters['min_allowed_weights']} weights are needed")
    if not is_self_weight and max(values, default=0) * _U16_MAX > parameters["max_weights_limit"] * sum(values):
        raise CallFailed("MaxWeightExceeded", "one weight has too large a share")
    connection.execute("DELETE FROM weights WHERE netuid = ? AND uid = ?", (netuid, uid))
    connection.executemany(
        "INSERT INTO weights VALUES (?, ?, ?, ?)",
        [(netuid, uid, dest, value) for dest, value in zip(dests, values, strict=True)],
    )
    connection.execute("UPDATE neurons SET last_update = ? WHERE netuid = ? AND uid = ?", (head.number, netuid, uid))


_CALLS: Mapping[str, Call] = {
    "SubtensorModule.serve_axon": _serve_axon,
    "SubtensorModule.set_mechanism_weights": _set_weights,
}


def _can_be_served(ip: int, ip_type: int) -> bool:
    if ip == 0:
        return False
    if ip_type == 4:
        return ip <= 0xFFFF_FFFE and not ipaddress.IPv4Address(ip).is_multicast
    return not ipaddress.IPv6Address(ip).is_multicast


def _number(params: Mapping[str, object], name: str, top: int = _U16_MAX) -> int:
    value = params.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= top:
        raise CallFailed("BadRequest", f"{name} is not a number from 0 to {top}")
    return value


def _numbers(params: Mapping[str, object], name: str) -> Sequence[int]:
    values = params.get(name)
    if not isinstance(values, list):
        raise CallFailed("BadRequest", f"{name} is not a list")
    return [_number({name: value}, name) for value in values]
