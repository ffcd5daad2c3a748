"""Run inside a booted machine: a miner's user with wallet, keys, chain and configuration below /home, and a node.

``python -m tests.support.booted_miner`` prints the configuration's path.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from engine.localnet.gpu_model import GpuModel
from engine.ssh.keys import ClientKey
from tests.support.miner_subnet import create_subnet

USER = "miner"
ACCOUNT = "gpu"
HOME = Path("/home", USER)
ADMIN_KEY = Path("/root/.ssh/id_ed25519")
TOOLS = Path("/usr/local/bin")
STAND_IN = Path(__file__).parents[2] / "engine" / "localnet" / "stand_in"


@dataclass
class OwnNode:
    """This machine itself as a GPU node, by its own sshd."""

    host: str = "127.0.0.1"
    port: int = 22
    username: str = ACCOUNT

    def authorize(self, text: str) -> None:
        """Write the account's key file."""
        _authorize(ACCOUNT, Path("/home", ACCOUNT), text)


def _authorize(name: str, home: Path, text: str) -> None:
    keys = home / ".ssh" / "authorized_keys"
    keys.parent.mkdir(mode=0o700, exist_ok=True)
    keys.write_text(text)
    keys.chmod(0o600)
    subprocess.run(["chown", "-R", f"{name}:", str(keys.parent)], check=True)


def _put_gpu() -> None:
    """The stand-in for nvidia-smi: no card is here."""
    smi = TOOLS / "nvidia-smi"
    smi.write_text((STAND_IN / "nvidia-smi").read_text().replace("$here/../gpu.conf", "$here/gpu.conf"))
    smi.chmod(0o755)
    (TOOLS / "gpu.conf").write_text(GpuModel().to_text())


def main() -> None:
    """Accounts, an administrator's key, a small subnet whose miner is this machine's."""
    for name in (USER, ACCOUNT):
        subprocess.run(["useradd", "-m", "-s", "/bin/bash", name], check=True)
        subprocess.run(["usermod", "-p", "*", name], check=True)
    _put_gpu()
    admin = ClientKey.generate("admin")
    ADMIN_KEY.parent.mkdir(mode=0o700, exist_ok=True)
    ADMIN_KEY.unlink(missing_ok=True)
    admin.save(ADMIN_KEY)
    _authorize("root", Path("/root"), admin.public_line + "\n")
    subnet = create_subnet(
        HOME / "basilica",
        [OwnNode()],  # type: ignore[list-item]  # of a node it uses address and authorize alone
        engine={"data_dir": str(HOME / "basilica/data")},
        health={"enabled": True},
        metrics={"enabled": True},
        alerts={"node_disk_min_gb": 0.05, "host_disk_min_gb": 0.05},
    )
    subprocess.run(["chown", "-R", f"{USER}:", str(HOME)], check=True)
    subnet.config_path.chmod(0o600)
    print(subnet.config_path)


if __name__ == "__main__":
    main()
