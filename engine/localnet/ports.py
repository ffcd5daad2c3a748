"""Loopback ports that stay the same from one run of a localnet to the next."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path

from engine.errors import LocalnetFailed
from engine.localnet.files import write_atomic

HOST = "127.0.0.1"
_RANGE = range(20_000, 32_000)
"""Below Linux's ephemeral ports, so that no outgoing connection sits on one of ours at the next start."""


class PortBook:
    """Remembers ports by name in a JSON file; a port is free when it was free while the book was asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ports = _load(path)
        self._given: set[int] = set()

    def port(self, name: str, *, fixed: bool = False) -> int:
        """The port of ``name``: the one it had if that is free, else another.

        A ``fixed`` one never changes once given. Raises LocalnetFailed when it is taken, or no port is free.
        """
        known = self._ports.get(name)
        if known is not None and self._is_free(known):
            return self._give(name, known)
        if known is not None and fixed:
            raise LocalnetFailed(
                f"port {known} of {name} is taken by another program",
                hint="stop that program, or use another directory: the node's id depends on its port",
            )
        taken = self._given | set(self._ports.values())
        for port in random.sample(_RANGE, k=200):
            if port not in taken and self._is_free(port):
                return self._give(name, port)
        raise LocalnetFailed("no free port was found on 127.0.0.1")

    def save(self) -> None:
        """Write the book."""
        write_atomic(self._path, json.dumps(self._ports, indent=2).encode())

    def _give(self, name: str, port: int) -> int:
        self._ports[name] = port
        self._given.add(port)
        return port

    def _is_free(self, port: int) -> bool:
        if port in self._given:
            return False
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                return False
        return True


def _load(path: Path) -> dict[str, int]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as problem:
        raise LocalnetFailed(f"{path} is damaged", hint="use another directory, or remove this one") from problem
    return {str(name): int(port) for name, port in found.items()}
