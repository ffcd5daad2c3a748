"""Looking at this host. Blocking parts are called in a thread; nothing is changed, nobody outside is asked but the
resolver and the chain's endpoint."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import platform
import resource
import shutil
import socket
import ssl
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from engine.chain import chain_endpoint_for
from engine.clock import Clock
from engine.config import MinerConfig, ValidatorConfig
from engine.config.check_common import split_address
from engine.config.common import RoleConfig
from engine.deployment.needs import instance_of
from engine.diagnostics.host_facts import HostFacts, KeyTrouble, PortFacts
from engine.diagnostics.look_firewall import look_at_firewall
from engine.diagnostics.look_old_miner import look_at_old_miner, processes
from engine.errors import ClientKeyUnusable, ConfigInvalid
from engine.ssh.keys import ClientKey

_TIME_ERROR = 5
_RESOLVE_S = 5.0
_NAMES_LIMIT = 200


def look_at_host(config: RoleConfig) -> HostFacts:
    """Everything that needs no other machine."""
    release = _release()
    data_dir = config.data_dir.expanduser()
    free = _free(data_dir)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_miner = isinstance(config, MinerConfig)
    key_path, trouble, said = _key(config) if isinstance(config, MinerConfig) else ("", "", "")
    return HostFacts(
        os_id=release.get("ID", ""),
        os_version=release.get("VERSION_ID", ""),
        os_name=release.get("PRETTY_NAME", "")[:80],
        system=platform.system(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=_memory(),
        python=platform.python_version(),
        nodes=len(config.node_management.nodes) if isinstance(config, MinerConfig) else 0,
        data_dir=str(data_dir),
        disk_free_bytes=free,
        disk_min_bytes=int(config.alerts.host_disk_min_gb * 10**9),
        files_soft=soft,
        files_hard=hard,
        kernel_synced=_kernel_synced(),
        skew_max_s=config.alerts.clock_skew_max,
        ports=_ports(config),
        nameservers=_nameservers(),
        firewall=look_at_firewall(),
        public_ports=(config.validator_comms.port,) if isinstance(config, MinerConfig) else (),
        key_path=key_path,
        key_trouble=trouble,
        key_said=said,
        old_miner=look_at_old_miner(instance_of(config)),
        is_miner=is_miner,
    )


def wanted_ports(config: RoleConfig) -> list[tuple[str, str, int]]:
    """Key, address and port of everything that the engine binds."""
    found = []
    if isinstance(config, MinerConfig):
        found.append(("validator_comms.port", config.validator_comms.host, config.validator_comms.port))
    if isinstance(config, ValidatorConfig) and (address := split_address(config.api.bind_address)) is not None:
        found.append(("api.bind_address", *address))
    if config.metrics.enabled:
        found.append(("metrics.prometheus.port", config.metrics.prometheus.host, config.metrics.prometheus.port))
    if config.health.enabled:
        found.append(("health.port", config.health.host, config.health.port))
    return found


def names_of(config: RoleConfig) -> tuple[str, ...]:
    """Host names, not addresses, that the engine has to resolve."""
    hosts: list[str] = []
    section = config.bittensor
    with contextlib.suppress(ConfigInvalid):
        for url in (chain_endpoint_for(section.network, section.chain_endpoint), *section.fallback_endpoints):
            hosts.append(urlsplit(url).hostname or "")
    if isinstance(config, MinerConfig):
        hosts += [node.host for node in config.node_management.nodes]
    return tuple(dict.fromkeys(host for host in hosts if host and not _is_address(host)))[:_NAMES_LIMIT]


async def resolve_all(names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names that have an address, and names that have none."""
    loop = asyncio.get_running_loop()

    async def one(name: str) -> bool:
        try:
            async with asyncio.timeout(_RESOLVE_S):
                return bool(await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM))
        except (OSError, TimeoutError, UnicodeError):
            return False

    listed = list(names)
    found = await asyncio.gather(*map(one, listed))
    good = tuple(name for name, is_good in zip(listed, found, strict=True) if is_good)
    return good, tuple(name for name in listed if name not in good)


async def chain_clock(config: RoleConfig, clock: Clock, *, timeout_s: float = 5.0) -> float | None:
    """The endpoint's clock minus ours, by the ``Date`` of its answer to a plain HTTP request."""
    try:
        endpoint = chain_endpoint_for(config.bittensor.network, config.bittensor.chain_endpoint)
        parts = urlsplit(endpoint)
        port = parts.port or (443 if parts.scheme == "wss" else 80)
    except (ConfigInvalid, ValueError):
        return None
    if parts.scheme not in {"ws", "wss"} or not parts.hostname:
        return None
    # The time is what is asked for: a clock that is far off makes every certificate look expired.
    context = ssl.create_default_context() if parts.scheme == "wss" else None
    if context is not None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context, limit=16384)
            try:
                writer.write(f"GET / HTTP/1.1\r\nHost: {parts.hostname}\r\nConnection: close\r\n\r\n".encode())
                head = await reader.read(8192)
            finally:
                writer.close()
    except (OSError, TimeoutError, ssl.SSLError, UnicodeError):
        return None
    for line in head.decode("latin-1").splitlines():
        name, _, value = line.partition(":")
        if name.lower() == "date":
            with contextlib.suppress(ValueError, TypeError):
                return parsedate_to_datetime(value.strip()).timestamp() + 0.5 - clock.now()
    return None


def _release() -> dict[str, str]:
    try:
        return dict(platform.freedesktop_os_release())
    except OSError:
        return {}


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def _free(directory: Path) -> int | None:
    for place in (directory, *directory.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None


def _kernel_synced() -> bool | None:
    """``adjtimex`` with no mode set only reads; the structure is smaller than what it is given."""
    try:
        state = int(ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(1024)))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def _nameservers() -> tuple[str, ...]:
    try:
        lines = Path("/etc/resolv.conf").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ()
    return tuple(words[1] for line in lines if len(words := line.split()) > 1 and words[0] == "nameserver")[:8]


def _key(config: MinerConfig) -> tuple[str, KeyTrouble, str]:
    path = config.ssh_session.miner_node_key_path.expanduser()
    try:
        key = ClientKey.from_file(path)
    except ClientKeyUnusable as error:
        return str(path), _key_trouble(path, error.message), error.message
    return str(path), "", f"{path}: {key.algorithm} {key.fingerprint}"


def _key_trouble(path: Path, message: str) -> KeyTrouble:
    if not path.exists():
        return "missing"
    if not os.access(path, os.R_OK):
        return "unreadable"
    if "open to other users" in message:
        return "open_to_others"
    return "passphrase" if "passphrase" in message else "not_a_key"


# --- ports -----------------------------------------------------------------------------------------------------


def _ports(config: RoleConfig) -> tuple[PortFacts, ...]:
    wanted = wanted_ports(config)
    ours = frozenset(port for _, _, port in wanted)
    return tuple(_port(key, host, port, ours) for key, host, port in wanted)


def _port(key: str, host: str, port: int, ours: frozenset[int]) -> PortFacts:
    trouble = _try_bind(host, port)
    if not trouble:
        return PortFacts(key, host, port, is_free=True)
    holder = _holder(port) if trouble == "taken" else ""
    is_ours = "--daemon" in holder and ("basilica-tui" in holder or "basilica_tui" in holder)
    return PortFacts(
        key, host, port, False, trouble, holder, is_ours, None if is_ours else _free_near(host, port, ours)
    )


def _try_bind(host: str, port: int) -> str:
    """Bound and let go without listening: nobody can connect meanwhile."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((host, port))
            trial.listen(1)
        except OSError as error:
            if error.errno == errno.EACCES:
                return "forbidden"
            return "foreign" if error.errno == errno.EADDRNOTAVAIL else "taken"
    return ""


def _free_near(host: str, port: int, ours: frozenset[int]) -> int | None:
    """Not one that another part of the engine wants: it is free only until that starts."""
    start = port if port >= 1024 else 8091
    near = (one for one in range(start + 1, min(start + 50, 65535)) if one not in ours)
    return next((one for one in near if not _try_bind(host, one)), None)


def _holder(port: int) -> str:
    """Command line of whoever listens on the port; empty when this user may not see it."""
    inodes = {inode for name in ("tcp", "tcp6") for inode in _listening(Path("/proc/net") / name, port)}
    if not inodes:
        return ""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for pid, command in processes():
        with contextlib.suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(link.readlink()) in wanted:
                        return f"process {pid} ({' '.join(command)[:160]})"
    return ""


def _listening(table: Path, port: int) -> Iterable[str]:
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        words = line.split()
        if len(words) > 9 and words[3] == "0A" and words[1].endswith(f":{port:04X}"):
            yield words[9]


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return True
    return False
