"""How long one visit to a node may take: a node deadline, and more while the node is got to know in the background.

What an enrolment learned is kept only when it came to its end. Within a node deadline alone a node that is slow to log
in to, or one of many on a busy machine, would be begun with again and again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from engine.errors import SshTimeout
from engine.ssh.target import NodeTarget


class Patience:
    """The time limit of one visit; it begins to run when this is made. ``limit`` is for ``async with``."""

    def __init__(self, node_deadline_s: float, enrolment_deadlines: int = 1) -> None:
        self.limit = asyncio.timeout(node_deadline_s)
        self._node_deadline_s = node_deadline_s
        self._enrolment_s = node_deadline_s * enrolment_deadlines
        self._is_enrolling = False

    @contextmanager
    def of_enrolment(self) -> Iterator[None]:
        """An enrolment's own time, if it has any, and a whole node deadline for what comes after it."""
        self._is_enrolling = True
        if self._enrolment_s <= self._node_deadline_s:
            yield
        else:
            self._allow(self._enrolment_s)
            yield
            self._allow(self._node_deadline_s)
        self._is_enrolling = False

    def ran_out(self, target: NodeTarget) -> SshTimeout:
        """What to tell whoever waits for this node."""
        if self._is_enrolling:
            return SshTimeout(
                f"the first look at {target.address} and its trial logins took longer than {self._enrolment_s:g} s",
                hint="it goes on in the background; if that fails as well, see how long a login there takes: ssh -v",
            )
        return not_changed(target, self._node_deadline_s)

    def _allow(self, seconds: float) -> None:
        if not self.limit.expired():  # else whoever waits has been told already
            self.limit.reschedule(asyncio.get_running_loop().time() + seconds)


def not_changed(target: NodeTarget, node_deadline_s: float) -> SshTimeout:
    """What is known of a change that did not come to its end in time: nothing."""
    return SshTimeout(
        f"keys on {target.address} not changed within {node_deadline_s:g} s",
        hint="the state on the node is unknown; it is read again at the next attempt",
    )
