"""Looking at the engine as a service: unit files, systemd, control socket, health, metrics, database."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from engine.config import MinerConfig
from engine.config.common import RoleConfig
from engine.control.client import ControlClient
from engine.control.paths import socket_to_call
from engine.deployment.needs import instance_of
from engine.diagnostics.look_docker import is_own, look_at_containers
from engine.diagnostics.look_systemd import ask_unit
from engine.diagnostics.patient import Patient
from engine.diagnostics.service_checks import Answer, BaseState, EngineState, ServiceFacts
from engine.errors import BasilicaError, EngineUnreachable

UNIT_FOLDERS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_USER_UNITS = "~/.config/systemd/user"
_ASK_S = 4.0
_CHECK_LIMIT_BYTES = 2 << 30


def look_at_unit(patient: Patient) -> ServiceFacts:
    """Files and systemd; blocking."""
    config = patient.config
    instance = instance_of(config) if config is not None else "miner"
    unit = _find_unit(instance)
    has_systemd = Path("/run/systemd/system").is_dir()
    name = unit.name.replace("@.", f"@{instance}.") if unit is not None else ""
    for_user = unit is not None and unit.parent == Path(_USER_UNITS).expanduser()
    state, enabled = _state(name, for_user=for_user) if unit is not None and has_systemd else ("", "")
    own = patient.path.absolute() if patient.path is not None else None
    boxes = look_at_containers(lambda found: is_own(found, own)) if unit is None and own is not None else ()
    hidden: list[tuple[str, str]] = []
    if config is not None:
        section = config.bittensor
        wallet = section.wallet_path.expanduser().absolute() / section.wallet_name
        hidden.append(("wallet", str(wallet / "hotkeys" / section.hotkey_name)))
        if isinstance(config, MinerConfig):
            hidden.append(("key", str(config.ssh_session.miner_node_key_path.expanduser().absolute())))
    if patient.path is not None:
        hidden.append(("config", str(patient.path.absolute())))
    return ServiceFacts(
        has_systemd=has_systemd,
        unit=str(unit.with_name(name)) if unit is not None else "",
        settings=read_settings(unit, instance) if unit is not None else {},
        for_user=for_user,
        container=next(iter(sorted(boxes, key=lambda one: not one.runs)), None),
        state=state,
        enabled=enabled,
        hidden=tuple(hidden),
        data_dir=str(config.data_dir.expanduser().absolute()) if config is not None else "",
    )


def read_settings(unit: Path, instance: str = "") -> Mapping[str, tuple[str, ...]]:
    """``[Service]`` of a unit and its drop-ins; an empty value clears what came before, as for systemd.

    ``instance`` is that of a template unit, which has drop-ins of its own.
    """
    found: dict[str, tuple[str, ...]] = {}
    own = unit.with_name(unit.name.replace("@.", f"@{instance}."))
    folders = dict.fromkeys([Path(f"{unit}.d"), Path(f"{own}.d")])
    drop_ins = {file.name: file for folder in folders for file in folder.glob("*.conf")}
    for file in (unit, *(drop_ins[name] for name in sorted(drop_ins))):
        try:
            text = file.read_text("utf-8", "replace")
        except OSError:
            continue
        section = ""
        for raw in text.replace("\\\n", " ").splitlines():
            line = raw.strip()
            if line.startswith("["):
                section = line
            elif section == "[Service]" and line and line[0] not in "#;":
                key, _, value = (part.strip() for part in line.partition("="))
                found[key] = (*found.get(key, ()), value) if value else ()
    return found


def _find_unit(instance: str) -> Path | None:
    folders = [Path(folder) for folder in UNIT_FOLDERS]
    folders.append(Path(_USER_UNITS).expanduser())
    for folder in folders:
        for path in sorted(folder.glob("basilica*.service")):
            command = " ".join(read_settings(path, instance).get("ExecStart", ()))
            if "basilica-tui" in command or "basilica_tui" in command:
                return path
    return None


def _state(unit: str, *, for_user: bool) -> tuple[str, str]:
    found = ask_unit(unit, for_user=for_user)
    return (f"{found.active} ({found.sub})", found.enabled) if found.active else ("", "")


async def ask_engine(config: RoleConfig) -> tuple[EngineState, str]:
    """Whether an engine answers on the control socket: ``running``, ``absent``, ``silent`` or ``refused``."""
    role = "miner" if isinstance(config, MinerConfig) else "validator"
    path = config.engine.socket or socket_to_call(config.engine.name or role)
    if not path.exists():
        return "absent", f"{path} does not exist"
    try:
        async with asyncio.timeout(_ASK_S):
            client = await ControlClient.connect(path, role="read-only")
            await client.close()
    except TimeoutError:
        return "silent", f"{path} exists and does not answer"
    except EngineUnreachable as error:
        return "silent" if await _accepts(path) else "refused", error.message
    except BasilicaError as error:
        return "running", f"{path} answers: {error.message}"
    return "running", str(path)


async def _accepts(path: Path) -> bool:
    """Whether somebody listens on a Unix socket at all."""
    try:
        async with asyncio.timeout(_ASK_S):
            _, writer = await asyncio.open_unix_connection(str(path))
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def ask_http(host: str, port: int, path: str) -> tuple[Answer, str]:
    """One GET of our own endpoints; a body is read up to a bound."""
    where = f"http://{host}:{port}{path}"
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        async with asyncio.timeout(_ASK_S):
            reader, writer = await asyncio.open_connection(near, port, limit=65536)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {near}\r\nConnection: close\r\n\r\n".encode())
                head = await reader.read(65536)
            finally:
                writer.close()
    except TimeoutError:
        return "silent", f"{where} does not answer within {_ASK_S:g} s"
    except OSError as error:
        return "refused", f"{where}: {error.strerror or error}"
    status = head.split(b" ", 2)[1:2]
    if status == [b"200"]:
        return "ok", f"{where} answers"
    if status == [b"503"]:
        body = head.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")
        return "degraded", f"{where}: {' '.join(body.split())[:200]}"
    return "other", f"{where} answers with something else"


def look_at_database(config: RoleConfig) -> tuple[BaseState, str, str, int | None, int | None]:
    """Verdict, words, path, size of the event log, free space beside it; blocking and read only."""
    path = config.database.file
    assert path is not None, "look_server looks at what is on a server"
    recording, free = None, None
    with contextlib.suppress(OSError):
        free = shutil.disk_usage(path.parent).free
        recording = sum(one.stat().st_size for one in path.parent.glob(f"{path.stem}.events.db*"))
    if not path.exists():
        return "absent", "", str(path), recording, free
    try:
        return *_check_sqlite(path), str(path), recording, free
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return "locked", f"{path}: {error}", str(path), recording, free
        return "unreadable", f"{path}: {error}", str(path), recording, free
    except sqlite3.DatabaseError as error:
        return "damaged", f"{path}: {error}", str(path), recording, free


def _check_sqlite(path: Path) -> tuple[BaseState, str]:
    from engine.store.migrate import STATE_SCHEMA  # noqa: PLC0415 - takes long to load

    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=3)
    try:
        if path.stat().st_size <= _CHECK_LIMIT_BYTES:
            answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if answer != "ok":
                return "damaged", f"{path}: {str(answer)[:200]}"
        try:
            row = connection.execute(f"SELECT version_num FROM {STATE_SCHEMA.version_table}").fetchone()  # noqa: S608 - our own constant
        except sqlite3.OperationalError:
            row = None
    finally:
        connection.close()
    revision = str(row[0]) if row else ""
    if revision and revision not in STATE_SCHEMA.revisions:
        return "newer", f"{path} has schema {revision}, this program knows {STATE_SCHEMA.head}"
    return "ok", f"{path} is sound, schema {revision or 'not made yet'}"
