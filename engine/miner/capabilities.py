"""Who can tell what a node's sshd is able to do."""

from __future__ import annotations

from typing import Protocol

from engine.ssh.capability import NodeCapability
from engine.ssh.target import NodeTarget


class CapabilitySource(Protocol):
    """Answers from memory where it can."""

    async def capability(self, target: NodeTarget) -> NodeCapability:
        """Raises SshFailure."""
