"""Where a node is and as whom to log in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeTarget:
    """One account on one node. ``node_id`` names the connection; the rest may change under the same id."""

    node_id: str
    host: str
    port: int
    username: str

    @property
    def address(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def label(self) -> str:
        """``user@host:port``, for messages."""
        return f"{self.username}@{self.address}"
