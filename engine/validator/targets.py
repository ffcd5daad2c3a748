"""Which neurons of a metagraph are miners that can be called. Pure.

Rules as deployed: no validator permit, an axon with an address and a port, IPv4 only, never an unspecified or
loopback address; the loopback is allowed on a local chain, where everything lives on one machine. On the public
networks an address behind NAT, which nobody outside can reach, is not tried either.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from engine.chain import Metagraph


@dataclass(frozen=True, slots=True)
class MinerTarget:
    """A miner to call, at the endpoint that its axon names."""

    uid: int
    hotkey: str
    host: str
    port: int

    @property
    def endpoint(self) -> str:
        return f"{self.host}:{self.port}"


_BEHIND_NAT = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16")
)


def callable_miners(
    metagraph: Metagraph, *, is_local: bool, is_public: bool = False, port_offset: int = 0
) -> tuple[MinerTarget, ...]:
    """The miners in order of their uids. ``port_offset`` is added to the axon port (``grpc_port_offset``)."""
    targets = []
    for neuron in metagraph.neurons:
        if neuron.validator_permit or neuron.axon is None:
            continue
        port = neuron.axon.port + port_offset
        if 0 < port < 65536 and is_callable_address(neuron.axon.ip, is_local=is_local, is_public=is_public):
            targets.append(MinerTarget(neuron.uid, neuron.hotkey, neuron.axon.ip, port))
    return tuple(sorted(targets, key=lambda t: t.uid))


def is_callable_address(ip: str, *, is_local: bool, is_public: bool = False) -> bool:
    """Whether a validator may dial this address."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    if address.version != 4 or address.is_unspecified or address.is_multicast:
        return False
    if is_public and any(address in network for network in _BEHIND_NAT):
        return False
    return is_local or not address.is_loopback
