"""Which neurons of a metagraph are miners that can be called, and why the others are not. Pure.

Rules as deployed: no validator permit, an axon with an address and a port, IPv4 only, never an unspecified or
loopback address; the loopback is allowed on a local chain, where everything lives on one machine. On the public
networks an address behind NAT, which nobody outside can reach, is not tried either.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from engine.chain import Axon, Metagraph


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


@dataclass(frozen=True, slots=True)
class Outsider:
    """A neuron that is not called; ``endpoint`` is empty when it names none."""

    uid: int
    hotkey: str
    endpoint: str
    reason: str


def survey(
    metagraph: Metagraph, *, is_local: bool, is_public: bool = False, port_offset: int = 0
) -> tuple[tuple[MinerTarget, ...], tuple[Outsider, ...]]:
    """The miners to call and everybody else, in order of their uids.

    ``port_offset`` is added to the axon port (``grpc_port_offset``).
    """
    targets: list[MinerTarget] = []
    others: list[Outsider] = []
    for neuron in sorted(metagraph.neurons, key=lambda one: one.uid):
        axon = neuron.axon
        port = 0 if axon is None else axon.port + port_offset
        reason = "it has a validator permit" if neuron.validator_permit else ""
        if not reason:
            reason = _why_not(axon, port, is_local=is_local, is_public=is_public)
        if axon is None or reason:
            others.append(Outsider(neuron.uid, neuron.hotkey, "" if axon is None else axon.endpoint, reason))
        else:
            targets.append(MinerTarget(neuron.uid, neuron.hotkey, axon.ip, port))
    return tuple(targets), tuple(others)


def _why_not(axon: Axon | None, port: int, *, is_local: bool, is_public: bool) -> str:
    """Why a validator must not dial this axon; empty when it may."""
    if axon is None or axon.port == 0:
        return "it serves no axon"
    if not 0 < port < 65536:
        return f"there is no port {port}"
    try:
        address = ipaddress.ip_address(axon.ip)
    except ValueError:
        return "its axon names no IP address"
    found = (
        (address.is_unspecified, "its axon has a zero address"),
        (address.version != 4, "its axon has an IPv6 address; only IPv4 is called"),
        (address.is_multicast, "its axon has a multicast address"),
        (address.is_loopback and not is_local, "its axon has a loopback address"),
        (
            is_public and any(address in network for network in _BEHIND_NAT),
            "its axon has an address behind NAT, which nobody outside reaches",
        ),
    )
    return next((reason for is_so, reason in found if is_so), "")
