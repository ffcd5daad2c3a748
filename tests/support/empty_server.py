"""An empty server in front of a small network: a chain in a file, a registered hotkey, stand-in nodes, and no miner."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from engine.chain.filechain import FileChainAdmin
from engine.identity.wallets import create_wallet
from engine.setup.answers import ROLES, Answers, defaults_of
from engine.ssh.keys import ClientKey
from tests.support.ports import free_port
from tests.support.stand_in_farm import StandInFarm

NETUID = 39


@dataclass(frozen=True)
class EmptyServer:
    """Where things are; ``home`` is the operator's, whose key opens the nodes' accounts."""

    root: Path
    home: Path
    nodes: tuple[str, ...]

    def answers(self, **more: object) -> Answers:
        """Answers that lead to a serving miner here."""
        values: dict[str, object] = {
            **self._of_both(),
            "nodes": ", ".join(self.nodes),
            "external_ip": "127.0.0.1",
            "port": free_port(),
            **more,
        }
        return replace(Answers(), **values)  # type: ignore[arg-type]

    def validator_answers(self, **more: object) -> Answers:
        """Answers that lead to a serving validator here."""
        values: dict[str, object] = {**self._of_both(), "api": f"127.0.0.1:{free_port()}", **more}
        return replace(defaults_of("validator"), **values)  # type: ignore[arg-type]

    def _of_both(self) -> dict[str, object]:
        return {
            "network": "local",
            "chain_endpoint": f"file:{self.root / 'chain.db'}",
            "wallet_path": str(self.root / "wallets"),
            "health_port": free_port(),
            "metrics_port": free_port(),
            "directory": str(self.root / "base"),
            "service": "background",
            "name": f"setup-{os.getpid()}",
        }

    def config(self, role: str = "miner") -> Path:
        """What the setup writes."""
        return self.root / f"base/config/{role}.toml"


@contextmanager
def empty_server(root: Path, monkeypatch: pytest.MonkeyPatch, *, nodes: int = 2) -> Iterator[EmptyServer]:
    """Make one; engines that were started for its configuration end with it."""
    home = root / "home"
    admin = FileChainAdmin(root / "chain.db")
    admin.create([NETUID], block_time_s=1.0)
    miner = create_wallet(root / "wallets", "miner", "default")
    admin.register(NETUID, miner.signer.hotkey, miner.signer.hotkey, 0.0, False)
    validator = create_wallet(root / "wallets", "validator", "default")
    admin.register(NETUID, validator.signer.hotkey, validator.signer.hotkey, 50_000.0, True)
    key = ClientKey.generate("operator")
    key.save(home / ".ssh/id_ed25519")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with StandInFarm(root / "nodes", nodes) as farm:
        farm.authorize(home / ".ssh/id_ed25519")
        names = tuple(f"{entry['username']}@{entry['host']}:{entry['port']}" for entry in farm.entries)
        server = EmptyServer(root, home, names)
        try:
            yield server
        finally:
            for role in ROLES:
                end_engines(server.config(role))


def end_engines(config: Path) -> None:
    """Kill what runs with this configuration, and nothing else."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"--daemon" in words and str(config).encode() in words:
                os.kill(int(entry.name), signal.SIGKILL)
