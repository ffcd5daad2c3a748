"""Two real engines: the observed column of the miner comes from the validator's REST API, by signed requests."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w

from engine.localnet.gpu_model import GpuModel
from tests.support.gpu_tools import furnish
from tests.support.miner_subnet import MinerSubnet, create_subnet
from tests.support.ports import free_port
from tests.support.sshd import NodeSshd

pytestmark = [pytest.mark.sshd, pytest.mark.timeout(400)]
Nodes = Callable[..., NodeSshd]


def write_validator(subnet: MinerSubnet, rest_port: int) -> Path:
    """``validator.toml`` of the first validator, with the default rules of access."""
    root, wallet = subnet.root, subnet.validators[0].wallet
    document = {
        "bittensor": {
            "wallet_path": str(root / "wallets"), "wallet_name": wallet.name, "hotkey_name": wallet.hotkey_name,
            "network": "local", "netuid": 39, "chain_endpoint": f"file:{root / 'chain.db'}", "external_ip": "127.0.0.1",
        },
        "database": {"url": f"sqlite:{root / 'v' / 'validator.db'}"},
        "api": {"bind_address": f"127.0.0.1:{rest_port}"},
        "verification": {"verification_interval": 5, "attestation": {"matrix_size": 1024}},
        "emission": {"gpu_allocations": {"H100": 100.0}},
        "metrics": {"enabled": True, "prometheus": {"port": free_port()}},
        "engine": {"name": "v", "socket": str(root / "vs" / "engine.sock"), "data_dir": str(root / "v")},
    }  # fmt: skip
    path = root / "validator.toml"
    path.write_text(tomli_w.dumps(document))
    return path


def test_the_observed_column_is_the_validators_word(sshd_nodes: Nodes, tmp_path: Path) -> None:
    """Score and node status reach the miner's console without any key; a stranger without a signature gets 401."""
    node, rest_port = sshd_nodes(), free_port()
    furnish(node, GpuModel.for_node("observed", 0))
    subnet = create_subnet(
        tmp_path, [node], observed={"rest_url": f"http://127.0.0.1:{rest_port}", "interval": 1, "timeout": 30}
    )
    config = write_validator(subnet, rest_port)
    with (tmp_path / "validator.log").open("wb") as log:
        validator = subprocess.Popen(
            [sys.executable, "-m", "basilica_tui", "--daemon", "--config", str(config)],
            stdout=log, stderr=log, cwd=Path(__file__).parents[2],
        )  # fmt: skip
    try:
        subnet.start()
        snapshot = asyncio.run(
            subnet.until(
                lambda s: (
                    s.engine.observed_score == 1.0 and any(n.observed_status == "online" for n in s.nodes.values())
                ),
                seconds=240,
            )
        )
        assert snapshot.engine.observed_rest == "ok"
        assert snapshot.engine.assigned_hotkey == subnet.validators[0].hotkey
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{rest_port}/miners/miner_0", timeout=30)
        assert (refused.value.code, json.loads(refused.value.read())["status"]) == (401, 401)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{(tmp_path / 'validator.log').read_text()[-3000:]}") from error
    finally:
        subnet.kill()
        validator.send_signal(signal.SIGKILL)
        validator.wait(60)
