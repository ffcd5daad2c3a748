"""A miner engine as a real process over real sshd nodes and the embedded chain, and validators that call it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from engine.chain.filechain import FileChainAdmin
from engine.clock import SystemClock
from engine.control.client import ControlClient, Snapshot
from engine.errors import EngineUnreachable
from engine.identity.wallets import OpenWallet, create_wallet
from engine.localnet.engines import has_settled
from engine.ssh.keys import ClientKey
from engine.validator.miner_client import MinerClient, MinerNodes
from tests.support.nursery import Nursery
from tests.support.ports import free_port
from tests.support.sshd import NodeSshd

NETUID = 39
PATIENCE_S = 120.0
"""How long a condition may take to come true: a loaded machine of two cores is slow, not wrong."""
GREETING_S = 30.0
"""A busy machine's engine may greet late; a console's own patience has tests of its own."""


@dataclass
class Validator:
    """A validator identity with an SSH key file that the real ``ssh`` program can use."""

    wallet: OpenWallet
    key: ClientKey
    key_path: Path

    @property
    def hotkey(self) -> str:
        return self.wallet.signer.hotkey


@dataclass
class MinerSubnet:
    """One miner, its nodes, its validators. ``start`` and ``stop`` drive the engine's process."""

    root: Path
    nodes: Sequence[NodeSshd]
    miner: OpenWallet
    validators: Sequence[Validator]
    admin: FileChainAdmin
    grpc_port: int
    config_path: Path
    socket: Path
    launch: Callable[[Path, Path], Any] | None = field(default=None, repr=False)
    """Starts an engine in another way: (config, log) -> something like a Popen."""
    nursery: Nursery | None = field(default=None, repr=False)
    """Where engines without flags of their own are forked from; without it each is a program of its own."""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self, *, die_at: str = "", flags: Sequence[str] = ()) -> None:
        """Start the engine and wait until its socket answers; with ``die_at`` it kills itself at that event."""
        command = [sys.executable, "-m", "basilica_tui", "--daemon", "--config", str(self.config_path), *flags]
        if die_at:
            command = [sys.executable, "-m", "tests.support.mortal_engine", str(self.config_path), die_at]
        if self.launch is not None and not die_at:
            self._process = self.launch(self.config_path, self.root / "engine.log")
        elif self.nursery is not None and not flags:
            child: Any = self.nursery.start(self.config_path, self.root / "engine.log", die_at)
            self._process = child
        else:
            self._start_process(command)
        assert self._process is not None
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise AssertionError(f"the engine ended: {self.log()}")
            if asyncio.run(_answers(self.socket)):
                return
            time.sleep(0.1)
        raise AssertionError(f"the engine does not answer: {self.log()}")

    def _start_process(self, command: list[str]) -> None:
        with (self.root / "engine.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=Path(__file__).parents[2])

    def stop(self) -> int:
        """End the engine with SIGTERM and return its exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End the engine with SIGKILL."""
        return self._end(signal.SIGKILL)

    def wait_dead(self) -> int:
        """Wait for an engine that ends by itself."""
        assert self._process is not None
        return self._process.wait(PATIENCE_S)

    @property
    def pid(self) -> int:
        """The engine's process."""
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        """What the engine wrote."""
        return (self.root / "engine.log").read_text(errors="replace")

    async def discover(
        self, validator: Validator, dialect: str = "auto", *, key: ClientKey | None = None
    ) -> MinerNodes:
        """Authenticate and ask for nodes, as a validator's engine does."""
        client = MinerClient(
            f"127.0.0.1:{self.grpc_port}",
            validator.wallet.signer,
            self.miner.signer.hotkey,
            clock=SystemClock(),
            dialect=dialect,  # type: ignore[arg-type]
        )
        return await client.discover((key or validator.key).public_line)

    async def snapshot(self) -> Snapshot:
        """What a console would see."""
        client = await ControlClient.connect(self.socket, role="read-only", timeout_s=GREETING_S)
        try:
            return await client.snapshot()
        finally:
            await client.close()

    async def until(self, condition: Callable[[Snapshot], bool], *, seconds: float = PATIENCE_S) -> Snapshot:
        """Wait for the console's view to fulfil a condition."""
        deadline = time.monotonic() + seconds
        while True:
            snapshot = await self.snapshot()
            if condition(snapshot):
                return snapshot
            if time.monotonic() > deadline:
                raise AssertionError(f"not reached: {snapshot}\n{self.log()[-4000:]}")
            await asyncio.sleep(0.2)

    def settle(self) -> Snapshot:
        """Wait until the engine has chosen whom it serves and enrolled every node."""
        return asyncio.run(self.until(has_settled))

    async def act(self, verb: str, **args: object) -> object:
        """An operator's action."""
        client = await ControlClient.connect(self.socket, timeout_s=GREETING_S)
        try:
            return await client.act(verb, args)
        finally:
            await client.close()

    def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(number)
        try:
            return process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(60)
            raise


def create_subnet(
    root: Path,
    nodes: Sequence[NodeSshd],
    *,
    validators: int = 2,
    node_entries: Sequence[dict[str, object]] = (),
    **sections: dict[str, object],
) -> MinerSubnet:
    """Write wallets, chain and miner.toml; every node gets the miner's key beside a line of its operator's."""
    wallets = root / "wallets"
    admin = FileChainAdmin(root / "chain.db")
    admin.create([NETUID], block_time_s=1.0)
    miner = create_wallet(wallets, "miner", "default")
    admin.register(NETUID, miner.signer.hotkey, miner.signer.hotkey, 0.0, False)
    people = []
    for number in range(validators):
        wallet = create_wallet(wallets, f"validator-{number}", "default")
        admin.register(NETUID, wallet.signer.hotkey, wallet.signer.hotkey, 10_000.0 - 1000 * number, True)
        key = ClientKey.generate(f"v{number}")
        key.save(root / f"validator-{number}.key")
        people.append(Validator(wallet, key, root / f"validator-{number}.key"))
    node_key = ClientKey.generate("miner")
    node_key.save(root / "node_key")
    for node in nodes:
        node.authorize(operator_line() + node_key.public_line + "\n")
    grpc_port = free_port()
    socket = root / "s" / "engine.sock"
    document: dict[str, dict[str, object]] = {
        "bittensor": {
            "wallet_path": str(wallets),
            "wallet_name": "miner",
            "hotkey_name": "default",
            "network": "local",
            "netuid": NETUID,
            "chain_endpoint": f"file:{root / 'chain.db'}",
            "axon_port": grpc_port,
        },
        "database": {"url": f"sqlite:{root / 'data' / 'miner.db'}"},
        "validator_comms": {"host": "127.0.0.1", "port": grpc_port},
        "ssh_session": {"miner_node_key_path": str(root / "node_key")},
        "metrics": {"enabled": False},
        "health": {"enabled": False},
        "engine": {"socket": str(socket)},
        "access": {"reconcile_interval": 1, "node_deadline": 8},
        "validator_assignment": {"interval": 2},
        "node_management": {
            "health_check_interval": 2,
            "nodes": list(node_entries) or [{"host": n.host, "port": n.port, "username": n.username} for n in nodes],
        },
    }
    for name, values in sections.items():
        document.setdefault(name, {}).update(values)
    config_path = root / "miner.toml"
    config_path.write_text(tomli_w.dumps(document))
    return MinerSubnet(root, nodes, miner, people, admin, grpc_port, config_path, socket)


def operator_line() -> str:
    """A key line that belongs to the operator and must survive everything."""
    return OPERATOR_KEY.public_line + " and a comment with validator- in it\n"


OPERATOR_KEY = ClientKey.generate("operator@desk")


def ssh_command(node: NodeSshd, key_path: Path, command: str) -> list[str]:
    """The words that run a command there with the real ``ssh`` program, as a validator of any make would."""
    return [
        "ssh", "-F", "none", "-i", str(key_path), "-p", str(node.port),
        "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes",
        "-o", "BatchMode=yes", "-o", "ConnectTimeout=30", "-o", "LogLevel=ERROR",
        f"{node.username}@{node.host}", command,
    ]  # fmt: skip


def ssh_login(node: NodeSshd, key_path: Path, command: str = "echo in") -> subprocess.CompletedProcess[str]:
    """Log in with the real ``ssh`` program."""
    return subprocess.run(
        ssh_command(node, key_path, command),
        capture_output=True, text=True, timeout=90, check=False, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip


async def _answers(socket: Path) -> bool:
    try:
        client = await ControlClient.connect(socket, role="read-only", timeout_s=1.0)
    except EngineUnreachable:
        return False
    await client.close()
    return True
