"""What breaks a miner's host, each for real: its files, its chain, who listens, units, mounts."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from engine.identity.wallets import create_wallet
from tests.gallery.world import NETUID, World
from tests.support.ports import free_port

Break = Callable[[World], None]


@dataclass(frozen=True)
class HostSituation:
    """Something wrong with the miner's host; ``script`` runs inside the doctor's private mounts."""

    name: str
    check: str
    cause: str
    fix: str = ""
    prepare: Break = lambda _: None
    script: str = ""
    repaired: bool = True
    why_not: str = ""
    beside: frozenset[str] = frozenset()
    """Checks that rightly fail too, because of the same fault."""
    in_network: bool = False
    clock: str = ""
    scopes: tuple[str, ...] = ()
    """Only these scopes are looked at; empty means all."""

    def __str__(self) -> str:
        return self.name


def setting(section: str, key: str, value: object) -> Break:
    """One value of miner.toml."""
    return lambda world: world.config.setdefault(section, {}).update({key: value})


def text_of_config(change: Callable[[str], str]) -> Break:
    """miner.toml changed as text."""

    def write(world: World) -> None:
        world.write()
        world.file.write_text(change(world.file.read_text()))

    return write


def syntax(world: World) -> None:
    world.write()
    shutil.copy2(world.file, world.file.with_name("miner.toml.bak-20260101T000000Z"))
    world.file.write_text(world.file.read_text().replace("[bittensor]", "[bittensor"))


def secrets_open(world: World) -> None:
    setting("alerts", "urls", ["json://user:secret@127.0.0.1:9/hook"])(world)
    world.write()
    world.file.chmod(0o644)


def ss58(world: World) -> None:
    world.config["bittensor"]["wallet_name"] = world.hotkey


def encrypted(world: World) -> None:
    create_wallet(world.root / "wallets", "locked", "default", password="a password")
    for name in ("coldkey", "coldkeypub.txt"):
        (world.root / "wallets" / "locked" / name).unlink(missing_ok=True)
    shutil.rmtree(world.wallet)
    (world.root / "wallets" / "locked").rename(world.wallet)


def public_only(world: World) -> None:
    world.hotkey_file.write_text(json.dumps({"accountId": "0x00", "ss58Address": world.hotkey, "publicKey": "0x00"}))


def no_key(world: World) -> None:
    world.hotkey_file.write_text("a b c")


def public_ssh_key(world: World) -> None:
    world.key.write_text((world.root / "node_key.pub").read_text())


def behind_nothing(world: World) -> None:
    world.config["bittensor"]["axon_port"] = 8091
    del world.config["bittensor"]["external_ip"]


def testnet(world: World) -> None:
    world.config["bittensor"].update(network="test", netuid=39, chain_endpoint="ws://127.0.0.1:9")
    world.config["validator_comms"]["host"] = "0.0.0.0"


def coldkey(world: World) -> None:
    (world.wallet / "coldkey").write_text("$NACL not a real one")


def unregistered(world: World) -> None:
    world.chain.remove(NETUID, world.hotkey)


def no_permits(world: World) -> None:
    for hotkey in validators(world):
        world.chain.set_permit(NETUID, hotkey, False)


def validators(world: World) -> list[str]:
    with contextlib.closing(sqlite3.connect(world.root / "chain.db")) as connection:
        rows = connection.execute("SELECT hotkey FROM neurons WHERE hotkey != ?", (world.hotkey,)).fetchall()
    return [str(row[0]) for row in rows]


def moved(world: World) -> None:
    world.config["bittensor"]["external_ip"] = "127.0.0.2"
    world.config["validator_comms"]["host"] = "0.0.0.0"


def other_port(world: World) -> None:
    port = free_port()
    world.config["bittensor"]["axon_port"] = port
    world.config["validator_comms"]["port"] = port


def listener(section: str, *, name: str = "") -> Break:
    """Another program on one of the engine's ports; it ends by itself."""

    def start(world: World) -> None:
        table = world.config[section]
        port = table["prometheus"]["port"] if section == "metrics" else table["port"]
        program = (
            "import socket, time; s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); "
            f"s.bind(('127.0.0.1', {port})); s.listen(1); open({str(world.root / 'listening')!r}, 'w').close(); "
            "time.sleep(60)"
        )
        words = [name or sys.executable, "-c", program]
        process = subprocess.Popen(words, executable=sys.executable)
        world.keep.append(process)
        deadline = time.monotonic() + 60
        while not (world.root / "listening").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    return start


def damaged(world: World) -> None:
    folder = world.root / "data"
    folder.mkdir()
    with contextlib.closing(sqlite3.connect(folder / "miner.db")) as connection:
        connection.executescript("CREATE TABLE t (x TEXT); CREATE INDEX i ON t (x);")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,) for _ in range(200)])
        connection.commit()
    data = bytearray((folder / "miner.db").read_bytes())
    data[8192:20000] = b"\xff" * (20000 - 8192)
    (folder / "miner.db").write_bytes(data)


def newer(world: World) -> None:
    folder = world.root / "data"
    folder.mkdir()
    with contextlib.closing(sqlite3.connect(folder / "miner.db")) as connection:
        connection.executescript(
            "CREATE TABLE basilica_state_version (version_num TEXT); "
            "INSERT INTO basilica_state_version VALUES ('state_9999');"
        )


def dead_socket(world: World) -> None:
    path = world.root / "s" / "engine.sock"
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def silent_socket(world: World) -> None:
    path = world.root / "s" / "engine.sock"
    path.parent.mkdir(mode=0o700)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen(8)
    world.keep.append(sock)


def unit(*lines: str) -> str:
    """A unit file of ours in the doctor's private /etc/systemd/system."""
    text = "\\n".join(
        ("[Service]", "ExecStart=/usr/bin/basilica-tui --daemon --config /etc/basilica/miner.toml", *lines)
    )
    where = "/etc/systemd/system"
    return f'mount -t tmpfs tmpfs {where}; printf "{text}\\n" >{where}/basilica-tui.service'


OLD_UNIT = (
    "mount -t tmpfs tmpfs /etc/systemd/system; mkdir /etc/systemd/system/multi-user.target.wants; "
    "printf '[Service]\\nExecStart=/opt/basilica/basilica-miner --config /opt/basilica/config/miner.toml\\n' "
    ">/etc/systemd/system/basilica-miner.service; "
    "ln -s ../basilica-miner.service /etc/systemd/system/multi-user.target.wants/basilica-miner.service"
)
OLD_RELEASE = (
    'printf \'ID=ubuntu\\nVERSION_ID="18.04"\\nPRETTY_NAME="Ubuntu 18.04 LTS"\\n\' >$HOME/release; '
    "mount --bind $HOME/release $(readlink -f /etc/os-release)"
)
NO_RESOLVER = ": >$HOME/resolv; mount --bind $HOME/resolv /etc/resolv.conf"
FULL_DISK = "mkdir -p $HOME/data; mount -t tmpfs -o size=20m tmpfs $HOME/data"
HOST_ONLY = ("host",)
NOBODY_TO_ASK = frozenset({"host.clock"})
"""Without a node to compare with, a kernel that is not synchronised is a finding."""
LOCAL_ONLY = ("config", "host", "wallet", "chain", "service")
NO_SYSTEMD = "systemd does not run on a machine for tests, so systemctl cannot be asked"
PERSON = "a person decides"
NAME = "no-such-name.invalid"


def named_node(world: World) -> None:
    world.config["node_management"]["nodes"] = [{"host": NAME, "port": 22, "username": "basilica"}]


def too_many_nodes(world: World) -> None:
    world.config["node_management"]["nodes"] = [
        {"host": f"127.1.{number // 250}.{number % 250 + 1}", "port": 9, "username": "basilica"} for number in range(60)
    ]
