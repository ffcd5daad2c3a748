"""Ports for servers that start a moment after their port was chosen."""

from __future__ import annotations

import itertools
import random
import socket
from collections.abc import Iterator

RANGE = range(10_000, 20_000)
"""Below Linux's ephemeral ports, so that no connection of another test sits on one when its server comes to bind it,
and none connects to itself; a localnet takes its own from above."""
BLOCK = 100


def free_port() -> int:
    """A port that nothing has on any address; no other process of the tests is given the same."""
    return next(_PORTS)


def _all_ports() -> Iterator[int]:
    blocks = []
    while True:
        blocks.append(_claim())
        for number in itertools.count():
            port = blocks[-1][number % BLOCK]
            if _is_free(port):
                yield port
            elif not any(map(_is_free, blocks[-1])):
                break


def _claim() -> range:
    """A block that is this process's until it ends: an abstract socket's name is let go with the process."""
    for first in random.sample(RANGE[::BLOCK], k=len(RANGE) // BLOCK):
        holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            holder.bind(f"\0basilica-tests-ports-{first}")
        except OSError:
            holder.close()
        else:
            _HELD.append(holder)
            return range(first, first + BLOCK)
    raise RuntimeError(f"every block of ports in {RANGE} is taken by another run of the tests")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


_HELD: list[socket.socket] = []
_PORTS = _all_ports()
