"""What the engine knows of a subnet, as plain values; no SDK type appears here.

``Chain`` is the room's one interface. Neurons, axons and the metagraph are immutable readings of one block.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

RAO_PER_TAO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Axon:
    """Where a neuron says it serves. ``ip`` is a dotted quad or eight lowercase hex groups without compression."""

    ip: str
    port: int
    protocol: int = 0
    version: int = 0

    @property
    def endpoint(self) -> str:
        """``ip:port``, with brackets around an IPv6 address."""
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"

    def is_at(self, ip: str, port: int) -> bool:
        """Whether this is that address, however its text is written; false for text that is no IP address."""
        try:
            return self.port == port and ipaddress.ip_address(self.ip) == ipaddress.ip_address(ip)
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Neuron:
    """One uid of a subnet. Scores are 0..1, stake and emission in TAO as the chain counts them (rao / 1e9)."""

    uid: int
    hotkey: str
    coldkey: str
    stake_tao: float
    validator_permit: bool
    axon: Axon | None
    active: bool
    incentive: float
    dividends: float
    trust: float
    consensus: float
    emission_tao: float
    last_update: int
    registered_block: int | None = None
    """None where the chain does not tell."""


@dataclass(frozen=True)
class Metagraph:
    """A subnet at one block; ``neurons`` in uid order."""

    netuid: int
    block: int
    neurons: tuple[Neuron, ...]
    immunity_blocks: int | None = None
    """How long a new neuron cannot be pushed out; None where the chain does not tell."""

    @cached_property
    def _index(self) -> Mapping[str, Neuron]:
        return {neuron.hotkey: neuron for neuron in self.neurons}

    def by_hotkey(self, ss58: str) -> Neuron | None:
        """The neuron registered with that hotkey."""
        return self._index.get(ss58)

    def validators(self) -> tuple[Neuron, ...]:
        """Neurons with a validator permit, highest stake first, ties to the lower uid."""
        permitted = (neuron for neuron in self.neurons if neuron.validator_permit)
        return tuple(sorted(permitted, key=lambda neuron: (-neuron.stake_tao, neuron.uid)))

    def miners(self) -> tuple[Neuron, ...]:
        """Neurons without a permit that serve an axon, in uid order; the network counts a permit as "validator"."""
        return tuple(neuron for neuron in self.neurons if not neuron.validator_permit and neuron.axon is not None)


class HotkeyName(Protocol):
    """The public half of a signer: all that this room itself asks of it."""

    @property
    def hotkey(self) -> str:
        """SS58 address, prefix 42."""


class ChainWallet(Protocol):
    """An opened wallet: a name for messages, and the object that the SDK signs with."""

    @property
    def signer(self) -> HotkeyName: ...

    @property
    def sdk(self) -> object:
        """What signs with the hotkey in the SDK's sense: a ``bittensor.Signer`` or a keyed object."""


class Chain(Protocol):
    """A subnet of a Bittensor network.

    Every method raises only ``ChainUnavailable`` (no usable answer), ``ChainRefused`` (the chain or the SDK's own
    checks said no) or ``ChainRateLimited`` (too soon). After ``ChainUnavailable`` from a write the outcome is open:
    read the chain before writing again.
    """

    async def metagraph(self) -> Metagraph:
        """The subnet at the chain's head."""

    async def block_number(self) -> int:
        """Height of the chain's head."""

    async def weights(self) -> Mapping[int, Mapping[int, float]]:
        """The vectors that stand on chain: setting uid to uid to share, 0 to 1. Sealed ones are not among them."""

    async def serve_axon(self, ip: str, port: int) -> None:
        """Publish this hotkey's address; returns when a block holds it."""

    async def set_weights(self, weights: Mapping[int, float], version_key: int = 0) -> None:
        """Set this validator's weights by uid; relative values, conformed to the subnet's rules by the SDK."""

    async def close(self) -> None:
        """Let go of the connection; never raises, ends within a few seconds."""
