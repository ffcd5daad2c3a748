"""Broken hosts: configuration, wallet, chain, access, service and the machine itself. Each is made for real."""

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


def _syntax(world: World) -> None:
    world.write()
    shutil.copy2(world.file, world.file.with_name("miner.toml.bak-20260101T000000Z"))
    world.file.write_text(world.file.read_text().replace("[bittensor]", "[bittensor"))


def _secrets_open(world: World) -> None:
    setting("alerts", "urls", ["json://user:secret@127.0.0.1:9/hook"])(world)
    world.write()
    world.file.chmod(0o644)


def _ss58(world: World) -> None:
    world.config["bittensor"]["wallet_name"] = world.hotkey


def _encrypted(world: World) -> None:
    create_wallet(world.root / "wallets", "locked", "default", password="a password")
    for name in ("coldkey", "coldkeypub.txt"):
        (world.root / "wallets" / "locked" / name).unlink(missing_ok=True)
    shutil.rmtree(world.wallet)
    (world.root / "wallets" / "locked").rename(world.wallet)


def _public_only(world: World) -> None:
    world.hotkey_file.write_text(json.dumps({"accountId": "0x00", "ss58Address": world.hotkey, "publicKey": "0x00"}))


def _no_key(world: World) -> None:
    world.hotkey_file.write_text("a b c")


def _public_ssh_key(world: World) -> None:
    world.key.write_text((world.root / "node_key.pub").read_text())


def _behind_nothing(world: World) -> None:
    world.config["bittensor"]["axon_port"] = 8091
    del world.config["bittensor"]["external_ip"]


def _testnet(world: World) -> None:
    world.config["bittensor"].update(network="test", netuid=39, chain_endpoint="ws://127.0.0.1:9")
    world.config["validator_comms"]["host"] = "0.0.0.0"


def _coldkey(world: World) -> None:
    (world.wallet / "coldkey").write_text("$NACL not a real one")


def _unregistered(world: World) -> None:
    world.chain.remove(NETUID, world.hotkey)


def _no_permits(world: World) -> None:
    for hotkey in _validators(world):
        world.chain.set_permit(NETUID, hotkey, False)


def _validators(world: World) -> list[str]:
    with contextlib.closing(sqlite3.connect(world.root / "chain.db")) as connection:
        rows = connection.execute("SELECT hotkey FROM neurons WHERE hotkey != ?", (world.hotkey,)).fetchall()
    return [str(row[0]) for row in rows]


def _moved(world: World) -> None:
    world.config["bittensor"]["external_ip"] = "127.0.0.2"
    world.config["validator_comms"]["host"] = "0.0.0.0"


def _other_port(world: World) -> None:
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


def _damaged(world: World) -> None:
    folder = world.root / "data"
    folder.mkdir()
    with contextlib.closing(sqlite3.connect(folder / "miner.db")) as connection:
        connection.executescript("CREATE TABLE t (x TEXT); CREATE INDEX i ON t (x);")
        connection.executemany("INSERT INTO t VALUES (?)", [("x" * 500,) for _ in range(200)])
        connection.commit()
    data = bytearray((folder / "miner.db").read_bytes())
    data[8192:20000] = b"\xff" * (20000 - 8192)
    (folder / "miner.db").write_bytes(data)


def _newer(world: World) -> None:
    folder = world.root / "data"
    folder.mkdir()
    with contextlib.closing(sqlite3.connect(folder / "miner.db")) as connection:
        connection.executescript(
            "CREATE TABLE basilica_state_version (version_num TEXT); "
            "INSERT INTO basilica_state_version VALUES ('state_9999');"
        )


def _dead_socket(world: World) -> None:
    path = world.root / "s" / "engine.sock"
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def _silent_socket(world: World) -> None:
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
_NAME = "no-such-name.invalid"


def _named_node(world: World) -> None:
    world.config["node_management"]["nodes"] = [{"host": _NAME, "port": 22, "username": "basilica"}]


def _too_many_nodes(world: World) -> None:
    world.config["node_management"]["nodes"] = [
        {"host": f"127.1.{number // 250}.{number % 250 + 1}", "port": 9, "username": "basilica"} for number in range(60)
    ]


HOST_SITUATIONS = (
    # configuration
    HostSituation("not TOML", "config.file", "syntax", "config.restore", _syntax),
    HostSituation("secrets are readable", "config.file", "open_to_others", "config.chmod", _secrets_open),
    HostSituation(
        "a value that cannot be",
        "config.values",
        "invalid",
        "",
        setting("validator_comms", "port", 99999),
        repaired=False,
        why_not="which value was meant, a person knows",
    ),
    HostSituation(
        "a misspelt key",
        "config.warnings",
        "unknown_keys",
        "config.remove_keys",
        setting("access", "sesion_lifetime", 60),
    ),
    HostSituation(
        "netuid of the other network",
        "config.network",
        "other_subnet",
        "config.netuid",
        _testnet,
        scopes=("config",),
    ),
    HostSituation(
        "two ports that differ",
        "config.ports",
        "differ",
        "config.axon_port",
        _behind_nothing,
        scopes=("config",),
        beside=frozenset({"config.warnings"}),
    ),
    HostSituation(
        "the door listens on loopback",
        "config.ports",
        "loopback",
        "config.listen_everywhere",
        lambda w: w.config["bittensor"].update(network="test", netuid=387, chain_endpoint="ws://127.0.0.1:9"),
        scopes=("config",),
    ),
    HostSituation(
        "no nodes",
        "config.nodes",
        "none",
        "",
        setting("node_management", "nodes", []),
        repaired=False,
        why_not="nodes are a person's to name",
        beside=NOBODY_TO_ASK,
    ),
    HostSituation(
        "signatures are not verified",
        "config.signatures",
        "off",
        "config.verify_signatures",
        setting("security", "verify_signatures", False),
    ),
    HostSituation(
        "open access", "config.open_access", "open", "config.assign", setting("validator_assignment", "enabled", False)
    ),
    HostSituation(
        "sessions too short",
        "config.intervals",
        "short_session",
        "config.intervals",
        setting("access", "session_lifetime", 120),
    ),
    HostSituation(
        "checks too often",
        "config.intervals",
        "hasty_checks",
        "config.intervals",
        setting("node_management", "health_check_interval", 5),
    ),
    # wallet
    HostSituation("an address for a name", "wallet.names", "address", "config.wallet_name", _ss58, scopes=LOCAL_ONLY),
    HostSituation(
        "no wallet directory",
        "wallet.files",
        "no_directory",
        "",
        setting("bittensor", "wallet_path", "/nonexistent/wallets"),
        repaired=False,
        why_not=PERSON,
    ),
    HostSituation(
        "another wallet name",
        "wallet.files",
        "no_wallet",
        "config.wallet_name",
        setting("bittensor", "wallet_name", "minor"),
        scopes=LOCAL_ONLY,
    ),
    HostSituation(
        "another hotkey name",
        "wallet.files",
        "no_hotkey",
        "config.wallet_name",
        setting("bittensor", "hotkey_name", "defualt"),
        scopes=LOCAL_ONLY,
    ),
    HostSituation(
        "the hotkey is open to others",
        "wallet.access",
        "open_to_others",
        "wallet.chmod",
        lambda w: w.hotkey_file.chmod(0o644),
    ),
    HostSituation(
        "encrypted without a password",
        "wallet.key",
        "no_password",
        "",
        _encrypted,
        repaired=False,
        why_not="only a person knows the password",
    ),
    HostSituation(
        "only the public half", "wallet.key", "public", "", _public_only, repaired=False, why_not="the key is elsewhere"
    ),
    HostSituation(
        "no key at all",
        "wallet.key",
        "not_a_key",
        "",
        _no_key,
        repaired=False,
        why_not="the key is elsewhere",
    ),
    HostSituation(
        "the coldkey lies here",
        "wallet.coldkey",
        "here",
        "",
        _coldkey,
        repaired=False,
        why_not="where it belongs, a person decides",
    ),
    # chain
    HostSituation(
        "the chain does not answer",
        "chain.endpoint",
        "unreachable",
        "",
        setting("bittensor", "chain_endpoint", "ws://127.0.0.1:9"),
        repaired=False,
        why_not="it is elsewhere",
    ),
    HostSituation(
        "no such subnet",
        "chain.endpoint",
        "no_subnet",
        "",
        setting("bittensor", "netuid", 77),
        repaired=False,
        why_not="which subnet was meant, a person knows",
    ),
    HostSituation(
        "not registered",
        "chain.registered",
        "not_registered",
        "",
        _unregistered,
        repaired=False,
        why_not="a registration costs money",
    ),
    HostSituation(
        "another address on chain",
        "chain.axon",
        "other_address",
        "chain.serve_axon",
        _moved,
        scopes=("chain",),
        repaired=False,
        why_not="a running engine publishes it",
    ),
    HostSituation(
        "another port on chain",
        "chain.axon",
        "other_port",
        "chain.serve_axon",
        _other_port,
        scopes=("chain",),
        repaired=False,
        why_not="a running engine publishes it",
    ),
    HostSituation(
        "a threshold above everybody",
        "chain.assigned",
        "threshold",
        "config.threshold",
        setting("validator_assignment", "min_stake_threshold", 12000.0),
    ),
    HostSituation(
        "no validator holds a permit",
        "chain.assigned",
        "no_validators",
        "",
        _no_permits,
        repaired=False,
        why_not="the network decides",
    ),
    HostSituation(
        "a pinned validator without permit",
        "chain.assigned",
        "no_permit",
        "",
        lambda w: w.config.update(validator_assignment={"strategy": "fixed_assignment", "validator_hotkey": w.hotkey}),
        repaired=False,
        why_not="whom to trust, a person decides",
    ),
    # the miner's key
    HostSituation(
        "no SSH key",
        "host.ssh_key",
        "missing",
        "host.key_generate",
        lambda w: w.key.unlink(),
        scopes=HOST_ONLY,
        beside=NOBODY_TO_ASK,
    ),
    HostSituation(
        "the SSH key is open to others",
        "host.ssh_key",
        "open_to_others",
        "host.key_chmod",
        lambda w: w.key.chmod(0o644),
        beside=NOBODY_TO_ASK,
    ),
    HostSituation(
        "the public key is configured",
        "host.ssh_key",
        "not_a_key",
        "",
        _public_ssh_key,
        repaired=False,
        why_not="where the private key is, a person knows",
        beside=NOBODY_TO_ASK,
    ),
    # the machine
    HostSituation(
        "an old release",
        "host.os",
        "old_release",
        "",
        script=OLD_RELEASE,
        repaired=False,
        why_not="an upgrade is a person's work",
    ),
    HostSituation("a full disk", "host.disk", "full", "", script=FULL_DISK, repaired=False, why_not=PERSON),
    HostSituation(
        "too few open files",
        "host.open_files",
        "low",
        "",
        _too_many_nodes,
        script="ulimit -Sn 256",
        scopes=HOST_ONLY,
        repaired=False,
        why_not="the limit belongs to the unit or to the shell",
        beside=NOBODY_TO_ASK,
    ),
    HostSituation(
        "this host's clock is off",
        "host.clock",
        "off",
        "host.ntp",
        clock="+10m",
        repaired=False,
        why_not="the wrong clock is the doctor's own process alone",
    ),
    HostSituation("metrics' port is taken", "host.ports", "taken", "host.free_port", listener("metrics")),
    HostSituation(
        "the door's port is taken",
        "host.ports",
        "taken",
        "host.free_port",
        listener("validator_comms"),
        scopes=HOST_ONLY,
    ),
    HostSituation(
        "the deployed miner holds the port",
        "host.ports",
        "deployed_miner",
        "host.take_over",
        listener("validator_comms", name="/opt/basilica/basilica-miner"),
        scopes=HOST_ONLY,
        repaired=False,
        why_not=NO_SYSTEMD,
        beside=frozenset({"host.old_miner"}),
    ),
    HostSituation(
        "the deployed miner starts at boot",
        "host.old_miner",
        "enabled",
        "host.stop_old_miner",
        script=OLD_UNIT,
        repaired=False,
        why_not=NO_SYSTEMD,
    ),
    HostSituation(
        "an address that is not ours",
        "host.ports",
        "foreign",
        "",
        setting("validator_comms", "host", "192.0.2.1"),
        scopes=HOST_ONLY,
        repaired=False,
        why_not=PERSON,
        beside=frozenset({"host.axon_reach"}),
    ),
    HostSituation(
        "no resolver",
        "host.dns",
        "no_resolver",
        "",
        _named_node,
        script=NO_RESOLVER,
        in_network=True,
        scopes=HOST_ONLY,
        repaired=False,
        why_not=PERSON,
        beside=NOBODY_TO_ASK,
    ),
    HostSituation(
        "a resolver that does not answer",
        "host.dns",
        "silent",
        "",
        _named_node,
        in_network=True,
        script="echo nameserver 127.0.0.1 >$HOME/resolv; mount --bind $HOME/resolv /etc/resolv.conf",
        scopes=HOST_ONLY,
        repaired=False,
        why_not=PERSON,
        beside=NOBODY_TO_ASK,
    ),
    HostSituation(
        "the firewall drops the axon's port",
        "host.firewall",
        "closed",
        "host.open_port",
        in_network=True,
        script="iptables -A INPUT -p tcp --dport $DOOR -j DROP",
        scopes=HOST_ONLY,
        beside=NOBODY_TO_ASK,
    ),
    HostSituation(
        "the firewall's policy drops",
        "host.firewall",
        "closed",
        "host.open_port",
        in_network=True,
        script="iptables -P INPUT DROP",
        scopes=HOST_ONLY,
        beside=NOBODY_TO_ASK,
    ),
    HostSituation(
        "a chain of nftables rejects the axon's port",
        "host.firewall",
        "closed",
        "host.open_port",
        in_network=True,
        script=(
            "nft 'add table inet own; add chain inet own others; add rule inet own others tcp dport 1-65535 reject; "
            "add chain inet own in { type filter hook input priority 0; policy accept; }; "
            "add rule inet own in iif lo accept; add rule inet own in jump others'"
        ),
        scopes=HOST_ONLY,
        beside=NOBODY_TO_ASK,
    ),
    HostSituation(
        "ufw denies what comes in",
        "host.firewall",
        "closed",
        "host.open_port",
        in_network=True,
        script=(
            "cp -a /etc/ufw $HOME/ufw; mount --bind $HOME/ufw /etc/ufw; "
            "PATH=$PATH:/usr/sbin ufw --force enable >/dev/null"
        ),
        scopes=HOST_ONLY,
        beside=NOBODY_TO_ASK,
    ),
    # the service
    HostSituation(
        "Restart=on-failure",
        "service.restart",
        "on_failure",
        "service.restart_always",
        script=unit("Restart=on-failure"),
        scopes=("service",),
    ),
    HostSituation(
        "no Restart at all", "service.restart", "none", "service.restart_always", script=unit(), scopes=("service",)
    ),
    HostSituation(
        "the unit hides the wallet",
        "service.hardening",
        "hides_wallet",
        "service.show_paths",
        script=unit("Restart=always", "InaccessiblePaths=$HOME/wallets"),
        scopes=("service",),
    ),
    HostSituation(
        "the unit hides the SSH key",
        "service.hardening",
        "hides_key",
        "service.show_paths",
        script=unit("Restart=always", "InaccessiblePaths=$HOME/node_key"),
        scopes=("service",),
    ),
    HostSituation(
        "the data directory is read-only",
        "service.hardening",
        "read_only_data",
        "service.show_paths",
        script=unit("Restart=always", "ProtectSystem=strict"),
        scopes=("service",),
    ),
    HostSituation(
        "a socket left over",
        "service.engine",
        "refused",
        "",
        _dead_socket,
        repaired=False,
        why_not="the engine cleans up when it starts",
    ),
    HostSituation(
        "an engine that does not answer",
        "service.engine",
        "silent",
        "",
        _silent_socket,
        repaired=False,
        why_not="a person looks before a restart",
    ),
    HostSituation(
        "a damaged database",
        "service.database",
        "damaged",
        "",
        _damaged,
        repaired=False,
        why_not="a backup is restored by a person",
    ),
    HostSituation(
        "a database of a newer version",
        "service.database",
        "newer",
        "",
        _newer,
        repaired=False,
        why_not="the program is upgraded by a person",
    ),
)
