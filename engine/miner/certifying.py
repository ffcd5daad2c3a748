"""Who enters a node by certificate, and the papers for it. Off unless ``[access] ssh_certificates`` says otherwise."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.clock import Clock
from engine.errors import HostKeysUnusable
from engine.miner.capabilities import Enrolled
from engine.miner.grants import expiry_second
from engine.ssh.authorized_keys import WantedKey
from engine.ssh.capability import Deadline
from engine.ssh.certificates import Authority
from engine.ssh.host_keys import HostKeys
from engine.ssh.keylines import AUTHORITY_HOLDER
from engine.ssh.target import NodeTarget
from engine.store.records import Grant


@dataclass(frozen=True, slots=True)
class Papers:
    """What a guest of one node is given: its own certificate, and one for the node's host key (may be empty)."""

    certificate: str
    host_certificate: str
    serial: int
    key_id: str
    """As the node's log names the certificate."""


class Certifying:
    """The authority of this miner, if it has one. ``hotkey`` tells its lines from those of other miners."""

    def __init__(self, directory: Path, hotkey: str, host_keys: HostKeys, *, clock: Clock) -> None:
        self._directory = directory
        self._hotkey = hotkey
        self._host_keys = host_keys
        self._clock = clock
        self._authority: Authority | None = None

    def turn(self, on: bool) -> None:
        """Issue certificates from now on, or stop to. Raises ClientKeyUnusable for a key that cannot be used."""
        if not on:
            self._authority = None
        elif self._authority is None:
            self._authority = Authority.load_or_create(self._directory)

    @property
    def is_on(self) -> bool:
        """Whether certificates are issued."""
        return self._authority is not None

    @property
    def host_authority(self) -> str:
        """The OpenSSH line of the key that signs host keys; empty while certificates are off."""
        return "" if self._authority is None else self._authority.hosts.normalised

    def line_id(self, node_id: str) -> str:
        """The grant id in the marker of this miner's authority line on that node."""
        return "ca-" + hashlib.sha256(f"{self._hotkey}|{node_id}".encode()).hexdigest()[:12]

    def certified(self, rows: Sequence[Grant], enrolled: Enrolled) -> list[Grant]:
        """The rows that need no line of their own on this node. Where certificates are of no use keys are put."""
        if self._authority is None or not enrolled.can_certify:
            return []
        return [row for row in rows if row.certified]

    def line(self, node_id: str, rows: Sequence[Grant], ends: Mapping[int, Deadline]) -> WantedKey | None:
        """The authority's line for these rows: it ends with the last of them."""
        if self._authority is None or not rows:
            return None
        last = max(expiry_second(row) for row in rows)
        key = self._authority.users
        return WantedKey(
            grant_id=self.line_id(node_id),
            holder=AUTHORITY_HOLDER,
            algorithm=key.algorithm,
            blob_base64=key.blob_base64,
            expires_at_unix=last,
            expiry_text=ends[last].expiry_text,
            guests=tuple(sorted((row.id, ends[expiry_second(row)].unix) for row in rows)),
        )

    def issue(
        self, target: NodeTarget, rows: Sequence[Grant], ends: Mapping[int, Deadline], enrolled: Enrolled
    ) -> dict[str, Papers]:
        """Papers for each of these rows by its id. They end on the node when the row does."""
        papers = {}
        for row in rows:
            assert self._authority is not None
            end = ends[expiry_second(row)]
            issued = self._authority.certify_guest(
                grant_id=row.id,
                holder=f"validator-{row.hotkey}",
                algorithm=row.algorithm,
                blob_base64=row.blob_base64,
                now_unix=end.unix - expiry_second(row) + int(self._clock.now()),
                end_unix=end.unix,
                is_wrapped=row.wrapped and enrolled.can_wrap,
            )
            host = self._host_certificate(target, expiry_second(row))
            papers[row.id] = Papers(issued.text, host, issued.serial, issued.key_id)
        return papers

    def _host_certificate(self, target: NodeTarget, end_unix: int) -> str:
        assert self._authority is not None
        try:
            key = self._host_keys.pinned_key(target)
        except HostKeysUnusable:
            return ""
        if key is None:
            return ""
        return self._authority.certify_host(target.host, key, now_unix=int(self._clock.now()), end_unix=end_unix)
