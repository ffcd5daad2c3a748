"""Where a node is, as whom to log in, and where an account's keys are kept there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NodeTarget:
    """One account on one node. ``node_id`` names the connection; the rest may change under the same id.

    A second account on the same node has an id of its own, the node's with ``#`` and a word behind.
    """

    node_id: str
    host: str
    port: int
    username: str

    @property
    def node(self) -> str:
        """The node's id, whichever account this is."""
        return self.node_id.partition("#")[0]

    @property
    def address(self) -> str:
        """``host:port``, an IPv6 address in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def label(self) -> str:
        """``user@host:port``, for messages."""
        return f"{self.username}@{self.address}"


ROOT_DIRECTORY = "/etc/ssh/basilica_keys"
"""Of key files that only root can write, one for each account; sshd knows them by ``AuthorizedKeysFile …/%u``."""


@dataclass(frozen=True, slots=True)
class RootFile:
    """The key file of ``account`` that only root can write; ``login`` is root there, or becomes it by ``sudo -n``."""

    login: NodeTarget
    account: str

    @property
    def path(self) -> str:
        """Where it is on the node."""
        return f"{ROOT_DIRECTORY}/{self.account}"


KeyPlace = NodeTarget | RootFile
"""A key file on a node: the account's own ``.ssh/authorized_keys``, or the one that only root can write."""


def login_of(place: KeyPlace) -> NodeTarget:
    """As whom the file is read and written."""
    return place.login if isinstance(place, RootFile) else place
