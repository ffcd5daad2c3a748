"""Hundreds of miners with nodes in one child process, for figures about a validator.

Each miner is a loopback address of its own in front of one gRPC server that signs as the miner it is asked for, each
node a loopback address in front of one SSH server. Connections, key exchange, logins, channels and signatures are real;
only the commands are answered from memory, because on real nodes they cost the node's processor, not the validator's.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import asyncssh
import grpc

from engine.identity import payloads
from engine.identity.signatures import KeypairSigner
from engine.wire.basilica.miner.v1 import miner_discovery_pb2 as pb
from engine.wire.basilica.miner.v1 import miner_discovery_pb2_grpc as stubs

_ROOT = Path(__file__).parents[2]
_TOKEN = "ab" * 32


def miner_signer(number: int) -> KeypairSigner:
    """The hotkey of the numbered miner, the same in both processes."""
    from bittensor.sp_core import Keypair

    return KeypairSigner(Keypair.create_from_uri(f"//Miner/{number}"))


def miner_ip(number: int) -> str:
    """Where its axon is."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


def node_ip(miner: int, node: int) -> str:
    """Where its node is."""
    return f"127.{2 + node}.{miner // 250}.{miner % 250 + 1}"


def node_id(miner: int, node: int) -> str:
    """The node's id."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, node_ip(miner, node)))


def gpu_uuid(ip: str) -> str:
    """The one GPU of the node at that address."""
    return f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'gpu {ip}')}"


@dataclass(slots=True)
class Swarm:
    """``with Swarm(256, 8) as swarm``: ``grpc_port`` and ``ssh_port`` are those of every miner and node.

    With ``holds`` a node never answers the attestation program, so that full verifications stay in flight. The nodes of
    the first ``hung`` miners let everybody in and answer no command at all.
    """

    miners: int
    nodes: int
    holds: bool = False
    hung: int = 0
    grpc_port: int = 0
    ssh_port: int = 0
    _process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Swarm:
        command = [
            sys.executable,
            "-m",
            "tests.support.miner_swarm",
            *map(str, (self.miners, self.nodes)),
            str(self.holds),
            str(self.hung),
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT)
        assert self._process.stdout is not None
        self.grpc_port, self.ssh_port = map(int, self._process.stdout.readline().split())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.communicate("\n", timeout=60)


# --- the child ------------------------------------------------------------------------------------------------


class _Miners:
    def __init__(self, miners: int, nodes: int, ssh_port: int) -> None:
        self._nodes, self._ssh_port = nodes, ssh_port
        self._signers = {(one := miner_signer(number)).hotkey: (number, one) for number in range(miners)}

    async def AuthenticateValidator(self, request: Any, context: Any) -> Any:
        _, signer = self._signers[request.target_miner_hotkey]
        answer = pb.MinerAuthResponse(
            authenticated=True, session_token=_TOKEN, miner_hotkey=signer.hotkey, response_nonce="r"
        )
        answer.expires_at.value.seconds = 2_000_000_000
        answer.miner_signature = signer.sign(payloads.miner_response(request.validator_hotkey, "r", _TOKEN))
        return answer

    async def DiscoverNodes(self, request: Any, context: Any) -> AsyncIterator[Any]:
        miner, _ = self._signers[request.target_miner_hotkey]
        for node in range(self._nodes):
            yield pb.NodeConnectionDetails(
                node_id=node_id(miner, node), host=node_ip(miner, node), port=str(self._ssh_port), username="basilica",
                status="available",
            )  # fmt: skip


class _Door(asyncssh.SSHServer):
    """Admits every key: who may enter is the miner's business, and not measured here."""

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return True


def _miner_of(ip: str) -> int:
    """The number of the miner whose node has this address."""
    third, fourth = map(int, ip.split(".")[2:])
    return third * 250 + fourth - 1


async def _answer(process: asyncssh.SSHServerProcess[str], holds: bool, hung: int) -> None:
    command = process.command or ""
    ip = process.get_extra_info("sockname")[0]
    if _miner_of(ip) < hung:
        await asyncio.sleep(3600)
    elif "--query-gpu" in command:
        process.stdout.write(f"0, {gpu_uuid(ip)}, 81559, 570.124.06, 5, 40, NVIDIA H100 80GB HBM3\n")
        process.stdout.write("basilica-header\n| NVIDIA-SMI 570  Driver Version: 570  CUDA Version: 12.8 |\n")
        process.exit(0)
    elif "basilica.XXXXXXXXXX" in command and holds:
        await asyncio.sleep(3600)
    else:
        process.exit(1)


async def _serve(miners: int, nodes: int, holds: bool, hung: int) -> None:
    ssh = await asyncssh.listen(
        "0.0.0.0",
        0,
        server_factory=_Door,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        process_factory=lambda process: _answer(process, holds, hung),
        backlog=4096,
        config=None,
    )
    server = grpc.aio.server()
    stubs.add_MinerDiscoveryServicer_to_server(_Miners(miners, nodes, ssh.get_port()), server)
    port = server.add_insecure_port("0.0.0.0:0")
    await server.start()
    print(port, ssh.get_port(), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    os._exit(0)  # thousands of orderly goodbyes would only take time


if __name__ == "__main__":
    asyncssh.set_log_level("ERROR")
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True", int(sys.argv[4])))
