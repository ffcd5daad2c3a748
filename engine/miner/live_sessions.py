"""Ends what still runs under a grant that is over, and says who else is inside."""

from __future__ import annotations

import base64
from collections.abc import Collection, Sequence

import structlog

from engine.clock import Clock
from engine.errors import SshChannelFailed
from engine.events import EventSink, LiveSessionsSeen, SessionProcessesEnded
from engine.miner.grants import END_REPLACED
from engine.ssh.pool import NodePool
from engine.ssh.sessions import Visitors, attribute, end_sessions, look
from engine.ssh.target import NodeTarget
from engine.store.records import Grant

log = structlog.get_logger()


class LiveSessions:
    """The sessions behind the keys. Raises SshFailure where the link is at fault; a node that cannot tell is passed."""

    def __init__(self, pool: NodePool, *, clock: Clock, emit: EventSink) -> None:
        self._pool = pool
        self._clock = clock
        self._emit = emit

    async def end(
        self, target: NodeTarget, over: Sequence[Grant], live: Sequence[Grant], other_keys: Collection[bytes]
    ) -> None:
        """End the sessions of grants that are over; the key of a living grant or of a line that stays is no mark.

        A grant that was replaced by a new key of the same validator keeps its sessions until their own deadline.
        """
        ending = {grant.id: grant for grant in over if grant.end_reason != END_REPLACED}
        if not ending:
            return
        in_use = {_blob(grant) for grant in live} | set(other_keys)
        keys = {_blob(grant): grant.id for grant in ending.values() if _blob(grant) not in in_use}
        try:
            ended, visitors = await end_sessions(self._pool, target, ending.keys(), keys)
        except SshChannelFailed as error:
            log.warning("sessions.unknown", node_id=target.node_id, message=error.message)
            return
        now = self._clock.now()
        for grant_id, processes in ended.by_grant.items():
            self._emit(
                SessionProcessesEnded(
                    at=now,
                    node_id=target.node_id,
                    grant_id=grant_id,
                    validator_hotkey=ending[grant_id].hotkey,
                    processes=processes,
                    logins=ended.logins,
                    left=ended.left,
                )
            )
        self._say(target, visitors, live)

    async def watch(self, target: NodeTarget, live: Sequence[Grant]) -> None:
        """Say how many connections of the account are open, and whose as far as can be told."""
        try:
            visitors = await look(self._pool, target)
        except SshChannelFailed as error:
            log.warning("sessions.unknown", node_id=target.node_id, message=error.message)
            return
        self._say(target, visitors, live)

    def _say(self, target: NodeTarget, visitors: Visitors | None, live: Sequence[Grant]) -> None:
        if visitors is None:
            return
        found = attribute(visitors, {grant.id for grant in live}, {_blob(grant) for grant in live})
        oldest = None if found.oldest_other_s is None else round(found.oldest_other_s, 1)
        self._emit(
            LiveSessionsSeen(
                at=self._clock.now(),
                node_id=target.node_id,
                of_grants=found.to_grants,
                others=found.others,
                oldest_s=oldest,
            )
        )


def _blob(grant: Grant) -> bytes:
    return base64.b64decode(grant.blob_base64)
