"""From the runtime's metagraph record to ``Metagraph``: pure, and hostile input cannot spoil a neighbour's row.

The record is ``SubnetInfoRuntimeApi.get_metagraph``: columns indexed by uid. Addresses follow the network's own
reading: an ip or port of 0 means no axon, type 4 takes the low 32 bits, type 6 prints eight groups uncompressed.
Loopback and private addresses are kept; whoever dials decides about them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeGuard

from engine.chain.models import RAO_PER_TAO, Axon, Metagraph, Neuron

_U16_MAX = 65535
_U32_MASK = 0xFFFF_FFFF


def ip_text(value: int, ip_type: int) -> str | None:
    """The address as the network writes it, or None for a type or a value that is no address."""
    if not 0 <= value < 1 << 128:
        return None
    if ip_type == 4:
        low = value & _U32_MASK
        return ".".join(str(low >> shift & 0xFF) for shift in (24, 16, 8, 0)) if low else None
    if ip_type == 6:
        return ":".join(f"{value >> shift & 0xFFFF:x}" for shift in range(112, -1, -16)) if value else None
    return None


def decode_axon(record: object) -> Axon | None:
    """The axon of one uid, or None when none is served or the record makes no sense."""
    if not isinstance(record, Mapping):
        return None
    port = _whole(record.get("port"))
    text = ip_text(_whole(record.get("ip")), _whole(record.get("ip_type")))
    if text is None or not 0 < port <= _U16_MAX:
        return None
    return Axon(ip=text, port=port, protocol=_whole(record.get("protocol")), version=_whole(record.get("version")))


def decode_metagraph(netuid: int, record: Mapping[str, object]) -> Metagraph:
    """The whole subnet; raises ValueError when the record has no hotkeys column or no block."""
    hotkeys = record.get("hotkeys")
    if not _is_column(hotkeys) or "block" not in record:
        raise ValueError("metagraph record without hotkeys or block")
    count = len(hotkeys)

    def column(name: str) -> Sequence[object]:
        values = record.get(name)
        present = list(values)[:count] if _is_column(values) else []
        return present + [None] * (count - len(present))

    coldkeys, stakes, permits = column("coldkeys"), column("total_stake"), column("validator_permit")
    axons, active, updates = column("axons"), column("active"), column("last_update")
    incentives, dividends = column("incentives"), column("dividends")
    trusts, consensus, emissions = column("trust"), column("consensus"), column("emission")
    registered = column("block_at_registration")
    neurons = tuple(
        Neuron(
            uid=uid,
            hotkey=str(hotkey),
            coldkey=str(coldkeys[uid] or ""),
            stake_tao=_whole(stakes[uid]) / RAO_PER_TAO,
            validator_permit=bool(permits[uid]),
            axon=decode_axon(axons[uid]),
            active=bool(active[uid]),
            incentive=_whole(incentives[uid]) / _U16_MAX,
            dividends=_whole(dividends[uid]) / _U16_MAX,
            trust=_whole(trusts[uid]) / _U16_MAX,
            consensus=_whole(consensus[uid]) / _U16_MAX,
            emission_tao=_whole(emissions[uid]) / RAO_PER_TAO,
            last_update=_whole(updates[uid]),
            registered_block=_known(registered[uid]),
        )
        for uid, hotkey in enumerate(hotkeys)
    )
    return Metagraph(
        netuid=netuid,
        block=_whole(record["block"]),
        neurons=neurons,
        immunity_blocks=_known(record.get("immunity_period")),
    )


def _is_column(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def decode_weights(rows: object) -> Mapping[int, Mapping[int, float]]:
    """Shares by setting uid; raises ValueError when there is no table. What is no number of 0 to 1 is not in it."""
    if not isinstance(rows, Mapping):
        raise ValueError("no table of weights")
    return {
        uid: {to: float(share) for to, share in row.items() if isinstance(to, int) and _is_share(share)}
        for uid, row in rows.items()
        if isinstance(uid, int) and isinstance(row, Mapping)
    }


def _is_share(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and 0 <= value <= 1


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _known(value: object) -> int | None:
    return value if isinstance(value, int) and value >= 0 else None
