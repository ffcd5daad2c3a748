"""A miner's host around gallery machines: wallet, embedded chain, configuration, and the doctor's command on it.

The command runs as its own process with private mounts, on request in a network of its own or with a wrong clock.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from engine.chain import open_chain
from engine.chain.filechain.admin import FileChainAdmin
from engine.clock import SystemClock
from engine.diagnostics.clinic import Clinic
from engine.diagnostics.fixing import Outcome
from engine.diagnostics.model import Scope
from engine.diagnostics.plan import Plan
from engine.diagnostics.render import render_json
from engine.identity.wallets import create_wallet, open_wallet
from engine.ssh.keys import ClientKey
from tests.gallery.machine import ACCOUNT, Machine
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
NETUID = 39
_ENTER = """mount --make-rprivate /
mkdir -p /tmp/none 2>/dev/null
[ -z "$NETWORK" ] || ip link set lo up
{script}
exec "$@"
"""


@dataclass
class World:
    """One host's files below ``root``; ``config`` is written to miner.toml before the doctor runs."""

    root: Path
    config: dict[str, Any] = field(default_factory=dict)
    hotkey: str = ""
    keep: list[Any] = field(default_factory=list)
    """Processes and sockets that a situation opened."""

    @property
    def file(self) -> Path:
        """miner.toml."""
        return self.root / "miner.toml"

    @property
    def chain(self) -> FileChainAdmin:
        """The chain's own desk."""
        return FileChainAdmin(self.root / "chain.db")

    @property
    def wallet(self) -> Path:
        """The miner's wallet."""
        return self.root / "wallets" / "miner"

    @property
    def hotkey_file(self) -> Path:
        """The hotkey."""
        return self.wallet / "hotkeys" / "default"

    @property
    def key(self) -> Path:
        """The miner's SSH key."""
        return self.root / "node_key"

    def write(self) -> None:
        """miner.toml from ``config``, unless a situation wrote its own."""
        if not self.file.exists():
            self.file.write_text(tomli_w.dumps(self.config))
            self.file.chmod(0o600)

    def close(self) -> None:
        """End what a situation started."""
        for one in self.keep:
            if isinstance(one, subprocess.Popen):
                one.kill()
                one.wait()
            else:
                one.close()

    async def look(self, scopes: Sequence[str] = (), *, fix: bool = False) -> tuple[int, dict[str, Any]]:
        """What ``doctor`` does, without a process of its own: status and document, as its command prints them."""
        clinic = Clinic(self.file, SystemClock())
        chosen = [Scope(word) for word in scopes] or list(Scope)
        report = await clinic.examine(chosen)
        outcomes: list[Outcome] = []
        if fix:

            async def agree(plan: Plan) -> bool:
                return bool(plan.steps)

            report, outcomes = await clinic.repair(report, agree)
        document = json.loads(render_json(report))
        document["fixes"] = [{"fix": one.plan.fix, "ending": one.ending, "message": one.message} for one in outcomes]
        return report.exit_code, document

    def doctor(
        self,
        *words: str,
        script: str = "",
        in_network: bool = False,
        clock: str = "",
        launcher: Sequence[str] = (),
    ) -> tuple[int, dict[str, Any]]:
        """``basilica-tui doctor --json``: its status and what it printed."""
        command = [sys.executable, "-m", "basilica_tui", "doctor", "--json", "--config", str(self.file), *words]
        if clock:
            command = ["faketime", "-f", clock, *command]
        namespaces = ["unshare", "--mount", *(["--net"] if in_network else [])]
        enter = [*namespaces, "sh", "-c", _ENTER.replace("{script}", script), "enter"]
        door = self.config["validator_comms"]["port"]
        environment = {**os.environ, "DOOR": str(door), "HOME": str(self.root), "NETWORK": "yes" if in_network else ""}
        done = subprocess.run(
            [*launcher, *enter, *command], capture_output=True, text=True, timeout=200, check=False, cwd=ROOT,
            env=environment, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.stdout.startswith("{"), f"status {done.returncode}: {done.stdout}{done.stderr}"
        return done.returncode, json.loads(done.stdout)


async def build_template(root: Path) -> str:
    """Wallet, SSH key and chain, made once; returns the hotkey."""
    wallet = create_wallet(root / "wallets", "miner", "default")
    for name in ("coldkey", "coldkeypub.txt"):
        (root / "wallets" / "miner" / name).unlink(missing_ok=True)
    admin = FileChainAdmin(root / "chain.db")
    admin.create([NETUID], block_time_s=1.0)
    admin.register(NETUID, wallet.signer.hotkey, wallet.signer.hotkey, 0.0, False)
    validator = create_wallet(root / "wallets", "validator", "default").signer.hotkey
    admin.register(NETUID, validator, validator, 10_000.0, True)
    shutil.rmtree(root / "wallets" / "validator")
    ClientKey.generate("miner").save(root / "node_key")
    return wallet.signer.hotkey


async def build_world(template: Path, root: Path, hotkey: str, machines: Sequence[Machine]) -> World:
    """A healthy host with these nodes, its axon on chain."""
    shutil.copytree(template, root, dirs_exist_ok=True)
    door = free_port()
    await publish(root, door)
    config: dict[str, Any] = {
        "bittensor": {
            "wallet_path": str(root / "wallets"),
            "wallet_name": "miner",
            "hotkey_name": "default",
            "network": "local",
            "netuid": NETUID,
            "chain_endpoint": f"file:{root / 'chain.db'}",
            "external_ip": "127.0.0.1",
            "axon_port": door,
        },
        "database": {"url": f"sqlite:{root / 'data' / 'miner.db'}"},
        "validator_comms": {"host": "127.0.0.1", "port": door},
        "ssh_session": {"miner_node_key_path": str(root / "node_key")},
        "metrics": {"prometheus": {"port": free_port()}},
        "health": {"port": free_port()},
        "engine": {"socket": str(root / "s" / "engine.sock"), "data_dir": str(root / "data")},
        "alerts": {"node_disk_min_gb": 0.05, "host_disk_min_gb": 0.05},
        "node_management": {"nodes": [{"host": one.host, "port": one.port, "username": ACCOUNT} for one in machines]},
    }
    return World(root, config, hotkey)


async def publish(root: Path, port: int, ip: str = "127.0.0.1") -> None:
    """Serve the miner's axon on the embedded chain."""
    wallet = open_wallet(root / "wallets", "miner", "default")
    chain = open_chain(network="local", netuid=NETUID, chain_endpoint=f"file:{root / 'chain.db'}", wallet=wallet)
    try:
        await chain.serve_axon(ip, port)
    finally:
        await chain.close()
