"""What the miner's door asks of the miner's core. The door speaks gRPC and decides nothing about nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from engine.identity.public_keys import PublicKey
from engine.wire.messages import Dialect


@dataclass(frozen=True, slots=True)
class Permit:
    """What the chain says about a caller's hotkey."""

    permitted: bool
    uid: int | None
    stake_tao: float | None


@dataclass(frozen=True, slots=True)
class ReadyNode:
    """A node on which the caller's key was read back; what the wire's NodeConnectionDetails carries."""

    node_id: str
    host: str
    port: int
    username: str
    additional_opts: str = ""
    hourly_rate_cents: int | None = None
    certificate: str = ""
    """The caller's OpenSSH user certificate for this node, where its plain key is not in place."""
    host_certificate: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """The outcome of a discovery: nodes with the key in place, how many are not, and until when it opens."""

    nodes: tuple[ReadyNode, ...]
    failed: int
    access_until: float | None


class Admission(Protocol):
    """The miner core behind the door."""

    async def permit(self, hotkey: str) -> Permit:
        """Raises ChainUnavailable when neither a fresh nor a recent enough metagraph is there."""

    def is_assigned(self, hotkey: str) -> bool:
        """Whether this validator may use the nodes now."""

    def host_authority(self) -> str:
        """The OpenSSH line of the key that signs the nodes' host keys; empty while certificates are off."""

    async def admit(self, hotkey: str, key: PublicKey, dialect: Dialect, *, certificates: bool = False) -> Access:
        """Write grants for every node, reconcile within the discovery deadline, and say which are ready.

        ``certificates`` says that the caller can log in with one.

        Raises PublicKeyRefused when the key belongs to the miner itself, an operator or another validator.
        """
