"""A local subnet from nothing to ``localnet.json``, and back to nothing running."""

from __future__ import annotations

import asyncio
import json as json_text
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from engine.config.miner import ObservedConfig
from engine.errors import LocalnetFailed
from engine.filelock import FileLock
from engine.identity.node_ids import node_id_for
from engine.localnet.cast import Part, Player, players
from engine.localnet.engines import EngineCommand, EngineProcess, Probe, daemon_command, end_orphans, is_serving
from engine.localnet.files import private_directory, write_atomic
from engine.localnet.flapping import Flapping
from engine.localnet.gpu_model import GpuModel
from engine.localnet.identities import Member, member, retire, settle, ssh_key
from engine.localnet.layout import NETUID, EngineFiles, Layout, assignment_config, url, write_miner, write_validator
from engine.localnet.pace import Pace
from engine.localnet.ports import HOST, PortBook
from engine.localnet.stand_in_node import StandInNode

Assignment = Literal["highest_stake", "fixed_assignment", "open"]
ASSIGNMENTS: tuple[Assignment, ...] = ("highest_stake", "fixed_assignment", "open")
_PATIENCE_S = 10.0
FLAP_PATIENCE_S = 20.0
"""A node that was away has ended keys left; the miner comes back to it after its pause for failing nodes."""


class Subnet:
    """Chain, stand-in nodes, one miner engine and validator engines in ``directory``, which may be used again.

    ``cast`` adds nodes that play a part (``engine.localnet.cast``) after the ``nodes`` honest ones.

    Wallets, chain, node ids, host keys and the nodes' key files survive; ports survive while they are free.
    ``async with`` starts and stops it. ``start`` raises LocalnetFailed, EngineAlreadyRunning (the directory is in
    use), WalletUnusable and ChainUnavailable, and leaves nothing running then.
    """

    def __init__(
        self,
        directory: Path,
        *,
        nodes: int = 4,
        cast: Sequence[Part] = (),
        validators: int = 2,
        external_validators: int = 0,
        assignment: Assignment = "highest_stake",
        pace: Pace | None = None,
        command: EngineCommand = daemon_command,
        probe: Probe = is_serving,
        patience_s: float = _PATIENCE_S,
        start_timeout_s: float = 60.0,
    ) -> None:
        self.layout = Layout(directory.expanduser().resolve())
        self.nodes: list[StandInNode] = []
        self.players: dict[str, Player] = {}
        """By node id, those that play a part."""
        self.engines: list[EngineProcess] = []
        self.document: dict[str, object] = {}
        self._node_count = nodes
        self._cast = tuple(cast)
        self._flapping: list[Flapping] = []
        self._validators = validators
        self._external = external_validators
        self._assignment = assignment
        self._pace = pace or Pace.normal_local()
        self._command = command
        self._probe = probe
        self._patience_s = patience_s
        self._start_timeout_s = start_timeout_s
        self._lock = FileLock(self.layout.lock)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Bring everything up and write ``localnet.json`` when it serves."""
        private_directory(self.layout.directory)
        self._lock.acquire(f"the localnet in {self.layout.directory}")
        self.nodes.clear()
        self.players.clear()
        try:
            self.layout.document.unlink(missing_ok=True)
            await asyncio.to_thread(end_orphans, self.layout.directory)
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End the engines (the miner takes its keys off the nodes), then the nodes."""
        try:
            await asyncio.gather(*(one.end(FLAP_PATIENCE_S) for one in self._flapping))
            self._flapping.clear()
            await asyncio.gather(*(engine.stop(self._patience_s) for engine in self.engines))
            await asyncio.gather(*(node.stop() for node in self.nodes))
        finally:
            self.engines.clear()
            self.layout.remove_short()
            self._lock.release()

    async def first_end(self) -> str:
        """Wait until an engine ends by itself, and say which and how."""
        waiting = {asyncio.create_task(engine.wait_ended()): engine for engine in self.engines}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        task = next(iter(done))
        return f"engine {waiting[task].files.name} ended with status {task.result()}"

    async def _start(self) -> None:
        miner, validators = await asyncio.to_thread(self._settle)
        ports = PortBook(self.layout.ports)
        labelled = await self._start_nodes(ports)
        top = validators[0].hotkey if validators else None
        assignment = assignment_config(self._assignment, self._pace, top)
        running = validators[: self._validators]
        validator_files = [write_validator(self.layout, ports, self._pace, who) for who in running]
        miner_files = write_miner(
            self.layout,
            ports,
            self._pace,
            miner,
            nodes=labelled,
            assignment=assignment,
            observed=_observed(validator_files[0], running[0].hotkey) if running else ObservedConfig(),
        )
        ports.save()
        self.engines = [
            EngineProcess(files, command=self._command, probe=self._probe) for files in (miner_files, *validator_files)
        ]
        for engine in self.engines:
            await engine.start()
        await self._wait_serving()
        for one in self._flapping:
            one.start()
        self.document = self._describe(miner, miner_files, validators, validator_files)
        write_atomic(self.layout.document, json_text.dumps(self.document, indent=2).encode() + b"\n")

    async def _wait_serving(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for engine in self.engines:
                    group.create_task(engine.wait_serving(self._start_timeout_s))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    def _settle(self) -> tuple[Member, list[Member]]:
        wallets = self.layout.wallets
        names = [f"validator-{number}" for number in range(1, self._validators + 1)]
        names += [f"external-{number}" for number in range(1, self._external + 1)]
        miner, validators = member(wallets, "miner"), [member(wallets, name) for name in names]
        settle(self.layout.chain, NETUID, self._pace.block_s, miner, validators)
        retired = {path.name for path in wallets.iterdir()} - {miner.name, *names}
        retire(self.layout.chain, NETUID, [member(wallets, name) for name in sorted(retired)])
        return miner, validators

    async def _start_nodes(self, ports: PortBook) -> dict[str, StandInNode]:
        """All nodes, by the names that the miner's configuration gives them."""
        seed = str(self.layout.directory)
        labelled = {}
        for number in range(1, self._node_count + 1):
            gpu = GpuModel.for_node(seed, number - 1)
            labelled[f"node-{number}"] = await self._start_node(ports, f"node-{number}", gpu)
        for player in players(self._cast, seed):
            node = labelled[player.name] = await self._start_node(ports, player.name, player.gpu)
            self.players[node_id_for(node.username, node.host, node.port)] = player
            if player.is_flapping:
                span_s = 3 * self._pace.health_s
                self._flapping.append(Flapping(node, up_s=span_s, down_s=span_s))
        return labelled

    async def _start_node(self, ports: PortBook, name: str, gpu: GpuModel) -> StandInNode:
        port = ports.port(name, fixed=True)
        node = StandInNode(self.layout.node(name), port=port, gpu=gpu)
        try:
            await node.start()
        except OSError as problem:
            raise LocalnetFailed(f"{name} cannot listen on port {port}: {problem}") from problem
        self.nodes.append(node)
        lines = [
            ssh_key(self.layout.operator_key, "operator@localnet"),
            ssh_key(self.layout.miner_key, "basilica-miner-node-key"),
        ]
        authorize(node.authorized_keys, lines)
        return node

    def _describe(
        self, miner: Member, miner_files: EngineFiles, validators: list[Member], validator_files: list[EngineFiles]
    ) -> dict[str, object]:
        running = {files.name: files for files in validator_files}
        cast = {player.name: node_id for node_id, player in self.players.items()}
        return {
            **({"cast": cast} if cast else {}),
            "chain": self.layout.chain_endpoint,
            "miner": {
                **miner.to_json(),
                "grpc": f"{HOST}:{miner_files.grpc}",
                "config": str(miner_files.config),
                "socket": str(miner_files.socket),
                "health": url(miner_files.health),
                "metrics": url(miner_files.metrics),
            },
            "validators": [
                who.to_json() | (_endpoints(running[who.name]) if who.name in running else {}) for who in validators
            ],
            "nodes": [
                {
                    "node_id": node_id_for(node.username, node.host, node.port),
                    "host": node.host,
                    "port": node.port,
                    "username": node.username,
                    "home": str(node.home),
                    "authorized_keys": str(node.authorized_keys),
                }
                for node in self.nodes
            ],
        }


def _observed(validator: EngineFiles, hotkey: str) -> ObservedConfig:
    """What the miner asks the first validator, which the others follow by stake."""
    return ObservedConfig(
        metrics_url=f"{url(validator.metrics)}/metrics", rest_url=url(validator.rest), rest_hotkey=hotkey, interval=5.0
    )


def _endpoints(files: EngineFiles) -> dict[str, object]:
    return {"config": str(files.config), "socket": str(files.socket), "rest": url(files.rest)}


def authorize(key_file: Path, lines: list[str]) -> None:
    """Add those lines whose key is not in the file yet; what is there stays."""
    content = key_file.read_bytes()
    missing = [line for line in lines if line.split()[1].encode() not in content]
    if missing:
        gap = b"" if not content or content.endswith(b"\n") else b"\n"
        write_atomic(key_file, content + gap + "".join(f"{line}\n" for line in missing).encode())


async def run_until_signal(
    directory: Path,
    *,
    nodes: int = 4,
    cast: Sequence[Part] = (),
    validators: int = 2,
    external_validators: int = 0,
    assignment: str = "highest_stake",
    json: bool = False,
    pace: Pace | None = None,
) -> int:
    """``localnet up``: serve until SIGINT, SIGTERM or SIGHUP; 0 then, 1 when an engine ended by itself."""
    if assignment not in ASSIGNMENTS:
        raise LocalnetFailed(f"assignment {assignment!r} is unknown", hint=f"use one of {', '.join(ASSIGNMENTS)}")
    subnet = Subnet(
        directory,
        nodes=nodes,
        cast=cast,
        validators=validators,
        external_validators=external_validators,
        assignment=assignment,
        pace=pace,
    )
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    serving, stopping = asyncio.create_task(_serve(subnet, json)), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            return serving.result()
        serving.cancel()
        await asyncio.wait({serving})
        if not serving.cancelled():
            serving.result()
        return 0
    finally:
        stopping.cancel()
        for number in signals:
            loop.remove_signal_handler(number)


async def _serve(subnet: Subnet, json: bool) -> int:
    async with subnet:
        sys.stdout.write(_announcement(subnet, json))
        sys.stdout.flush()
        sys.stderr.write(f"{await subnet.first_end()}; stopping\n")
        return 1


def _announcement(subnet: Subnet, json: bool) -> str:
    if json:
        return json_text.dumps(subnet.document) + "\n"
    engines = "\n".join(f"  {engine.files.name:<14} {engine.files.socket}" for engine in subnet.engines)
    return (
        f"localnet serves: {len(subnet.nodes)} nodes, {len(subnet.engines)} engines ({subnet.layout.document})\n"
        f"{engines}\nAttach with: basilica-tui --socket SOCKET    Stop with Ctrl-C.\n"
    )
