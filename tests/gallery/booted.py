"""The doctor's command inside a machine that boots its own systemd; the node is that machine's own sshd."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.booted import BootedHost, why_not_booted

ROOT = Path(__file__).parents[2]
CONFIG = "/home/miner/basilica/miner.toml"
UNIT = "basilica-tui@miner.service"
FETCH = (
    "rm -f usr/local/bin/docker; "
    'chroot . sh -ec "export DEBIAN_FRONTEND=noninteractive; apt-get update -q; %s; touch /packages-are-here" '
    ">/dev/null 2>&1 </dev/null || :"
)
"""Debian's packages are fetched while there is still a network; apt finds them when a fix asks for them."""
MARKS = [
    pytest.mark.sshd,
    pytest.mark.timeout(1800),  # some wait for their turn
    pytest.mark.skipif(bool(why_not_booted()), reason=why_not_booted()),
]


def doctor(host: BootedHost, *words: str) -> dict[str, Any]:
    """``doctor --json`` with root's own login on the node."""
    command = (sys.executable, "-m", "basilica_tui", "doctor", "--json", "--config", CONFIG, "--admin", "root", *words)
    done = host.run(*command, check=False, timeout_s=400)
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def result(document: dict[str, Any], check: str) -> dict[str, Any]:
    """One check's result."""
    found: dict[str, Any] = next(one for one in document["results"] if one["check"] == check)
    return found


def fixed(document: dict[str, Any], fix: str) -> dict[str, Any]:
    """How one fix ended."""
    found: dict[str, Any] | None = next((one for one in document["fixes"] if one["fix"] == fix), None)
    assert found is not None, document["fixes"]
    return found


OLD_MINER = """set -e
mkdir -p /opt/basilica/config /opt/basilica/bin /opt/basilica/keys /root/.bittensor/wallets
cp /home/miner/basilica/node_key /opt/basilica/keys/node_key
rm -rf /root/.bittensor/wallets/miner
cp -r /home/miner/basilica/wallets/miner /root/.bittensor/wallets/
mkdir -p /opt/basilica/chain
cp /home/miner/basilica/chain.db* /opt/basilica/chain/
chown -R root: /opt/basilica /root/.bittensor
cat >/opt/basilica/config/miner.toml <<END
[bittensor]
wallet_name = "miner"
hotkey_name = "default"
network = "local"
chain_endpoint = "file:/opt/basilica/chain/chain.db"
netuid = 39
external_ip = "127.0.0.1"
axon_port = {port}
[validator_comms]
host = "127.0.0.1"
port = {port}
[ssh_session]
miner_node_key_path = "/opt/basilica/keys/node_key"
[node_management]
nodes = [ {{ host = "127.0.0.1", port = 22, username = "gpu" }} ]
END
cp {python} /opt/basilica/bin/basilica-miner
cat >/opt/basilica/bin/hold <<END
import socket, sys, time
door = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(9999)
END
cat >/etc/systemd/system/basilica-miner.service <<END
[Service]
Environment=PYTHONHOME={home}
WorkingDirectory=/opt/basilica
ExecStart=/opt/basilica/bin/basilica-miner /opt/basilica/bin/hold {port} --config /opt/basilica/config/miner.toml
Restart=always
[Install]
WantedBy=multi-user.target
END
systemctl daemon-reload
systemctl enable --now basilica-miner
sleep 1
systemctl is-active basilica-miner
cp /opt/basilica/config/miner.toml /root/old.toml
"""


def start_old_miner(host: BootedHost) -> int:
    """The deployed miner's unit and files, with a program of that name which holds the door's port."""
    port = int(tomllib.loads((host.root / CONFIG.lstrip("/")).read_text())["validator_comms"]["port"])
    python = str(Path(sys.executable).resolve())
    host.shell(f"systemctl disable --now {UNIT} basilica-miner 2>/dev/null || true")
    host.shell("docker rm -f basilica-miner >/dev/null 2>&1 || true")
    host.shell(OLD_MINER.format(port=port, python=python, home=sys.base_prefix))
    host.until(f"ss -ltn | grep -q ':{port} '", "the deployed miner listens")
    return port


def owners(host: BootedHost) -> str:
    """Owner, group and mode of every file of the deployed miner's and ours that an engine itself does not write."""
    places = "/opt/basilica /root/.bittensor /home/miner/basilica"
    return host.shell(
        f"find {places} -path '*/data/*' -prune -o ! -name '*.bak-*' -printf '%u %g %m %p\\n' | sort -k 4"
    )


def uninstall(host: BootedHost) -> None:
    """Our service is gone."""
    host.run(sys.executable, "-m", "basilica_tui", "service", "uninstall", "--config", CONFIG, "--yes")


def state_of_old(host: BootedHost) -> tuple[str, str]:
    """Whether the deployed miner's unit is active, and enabled."""
    words = (host.run("systemctl", verb, "basilica-miner", check=False) for verb in ("is-active", "is-enabled"))
    active, enabled = (done.stdout.strip() for done in words)
    return active, enabled
