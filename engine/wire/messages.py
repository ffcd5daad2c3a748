"""What travels between validator and miner, as frozen values of our own. Both dialects share them.

A field that a dialect does not have is empty. Timestamps are whole Unix seconds; None means that none was sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Dialect = Literal["A", "B"]
"""A is what the deployed network speaks, B is the mission document's shape (protocol.md §1)."""

SERVICES: dict[Dialect, str] = {"A": "basilca.miner.v1.MinerDiscovery", "B": "basilica.miner.v1.MinerDiscovery"}
"""The gRPC service of each dialect; the first is spelled as the network spells it."""


@dataclass(frozen=True, slots=True)
class AuthCall:
    """A validator's request to authenticate."""

    dialect: Dialect
    validator_hotkey: str
    signature: str
    nonce: str
    timestamp: int | None
    target_miner_hotkey: str
    public_key: str = ""
    """OpenSSH line; dialect B only."""


@dataclass(frozen=True, slots=True)
class AuthAnswer:
    """A miner's answer to AuthCall."""

    authenticated: bool
    session_token: str
    expires_at: int | None
    miner_hotkey: str
    miner_signature: str
    response_nonce: str
    error: str = ""
    host_authority: str = ""
    """OpenSSH line of the key that signs host keys; dialect B, and only from a miner that makes certificates."""
    host_authority_signature: str = ""


@dataclass(frozen=True, slots=True)
class DiscoverCall:
    """A validator's request for nodes."""

    dialect: Dialect
    validator_hotkey: str
    signature: str
    nonce: str
    timestamp: int | None
    target_miner_hotkey: str
    public_key: str
    session_token: str = ""
    """Dialect B only."""
    accepts_certificates: bool = False
    """Dialect B only."""


@dataclass(frozen=True, slots=True)
class WireNode:
    """One node of a discovery answer. ``port`` is text on the wire and stays it here: it may be anybody's."""

    node_id: str
    host: str
    port: str
    username: str
    additional_opts: str = ""
    status: str = "available"
    hourly_rate_cents: int | None = None
    certificate: str = ""
    """OpenSSH user certificate; dialect B only, like the next."""
    host_certificate: str = ""
