"""What goes into a support bundle, piece by piece. Each piece that cannot be had is a note, never the end."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.metadata
import json
import platform
import sqlite3
import ssl
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from engine.clock import Clock
from engine.config import Loaded, MinerConfig, ValidatorConfig
from engine.config.show import describe
from engine.control.client import ControlClient, Snapshot
from engine.control.models import view_to_json
from engine.diagnostics.doctor import Doctor, Tools
from engine.diagnostics.model import Scope
from engine.diagnostics.patient import load_patient
from engine.diagnostics.render import render_json
from engine.errors import BasilicaError, StoreUnusable
from engine.recording.export import export_recording
from engine.recording.reader import open_recording
from engine.store.url import SqliteFiles, parse_url
from engine.support.bundle import Bundle
from engine.version import __version__

LOG_LINES = 5_000
LOG_FILE_BYTES = 1_000_000
RECORDING_S = 6 * 3600.0
METRICS_BYTES = 4_000_000
DIAGNOSIS_S = 90.0
CRASH_REPORTS = 3
_PACKAGES = (
    "textual",
    "rich",
    "asyncssh",
    "grpcio",
    "bittensor",
    "sqlalchemy",
    "pydantic",
    "cryptography",
    "zstandard",
)

AnyLoaded = Loaded[MinerConfig] | Loaded[ValidatorConfig]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Where to look."""

    config_path: Path | None
    loaded: AnyLoaded | None
    socket: Path | None
    state_folder: Path
    with_nodes: bool = False


async def collect(bundle: Bundle, wanted: Wanted, clock: Clock, say: Callable[[str], None] = lambda _: None) -> None:
    """Fill the bundle."""
    say("versions")
    bundle.add_json("versions.json", "program, Python, system and libraries", versions())
    say("engine")
    await _engine(bundle, wanted)
    loaded = wanted.loaded
    if loaded is not None:
        say("configuration")
        _configuration(bundle, loaded)
        say("database")
        await asyncio.to_thread(_databases, bundle, loaded)
        say("recording")
        await asyncio.to_thread(_recording, bundle, loaded.config.recording_dir)
        say("metrics")
        await asyncio.to_thread(_metrics, bundle, loaded)
        say("log file")
        await asyncio.to_thread(_log_file, bundle, loaded)
    if wanted.config_path is not None:
        say("diagnosis")
        await _diagnosis(bundle, wanted, clock)
    _crashes(bundle, wanted.state_folder)


def versions() -> dict[str, object]:
    """What runs here."""
    found: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {
        "basilica-tui": __version__,
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()),
        "distribution": _distribution(),
        "sqlite": sqlite3.sqlite_version,
        "openssl": ssl.OPENSSL_VERSION,
        "packages": found,
    }


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return ""


async def _engine(bundle: Bundle, wanted: Wanted) -> None:
    if wanted.socket is None:
        bundle.note("engine: none is known to run here, so there is no live state and no log of it")
        return
    try:
        client = await ControlClient.connect(wanted.socket, role="read-only")
        try:
            async with asyncio.timeout(20):
                snapshot = await client.snapshot()
                lines = await client.logs(after_seq=max(snapshot.log_seq - LOG_LINES, 0), limit=LOG_LINES)
        finally:
            await client.close()
    except (BasilicaError, TimeoutError) as error:
        bundle.note(f"engine: {error or 'it did not answer in time'}")
        return
    bundle.add_json("engine.json", "everything that the engine shows", _state(snapshot, client.hello.build))
    text = "\n".join(json.dumps(dataclasses.asdict(line), ensure_ascii=False) for line in lines)
    bundle.add_text("log.jsonl", f"the engine's last {len(lines)} log lines", text)


def _state(snapshot: Snapshot, build: str) -> dict[str, object]:
    views = {name: [view_to_json(view) for view in rows.values()] for name, rows in snapshot.views.items()}
    return {"build": build, "at": snapshot.at, "counters": snapshot.counters, **views}


def _configuration(bundle: Bundle, loaded: AnyLoaded) -> None:
    if isinstance(loaded.config, MinerConfig):
        bundle.names.learn([node.model_dump(mode="json") for node in loaded.config.node_management.nodes])
    lines = [f"{key} = {value}   ({source})" for key, value, source in describe(loaded)]
    bundle.add_text("config.txt", "the effective configuration, secrets masked", "\n".join([*lines, *loaded.warnings]))


def _databases(bundle: Bundle, loaded: AnyLoaded) -> None:
    try:
        files = parse_url(loaded.config.database.url)
    except StoreUnusable as error:
        bundle.note(f"database: {error.message}")
        return
    if not isinstance(files, SqliteFiles):
        bundle.note("database: not a file, so it was not looked at")
        return
    found = {what: _sqlite(path) for what, path in (("state", files.state), ("events", files.events))}
    bundle.add_json("database.json", "schema revision and integrity", found)


def _sqlite(path: Path) -> dict[str, object]:
    try:
        size = path.stat().st_size
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=3)
        try:
            verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
            tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            revisions = {
                table: connection.execute(f'SELECT version_num FROM "{table}"').fetchone()  # noqa: S608 - named by the schema itself
                for table in tables
                if "alembic" in table or table.endswith("_version")
            }
            rows = {t: connection.execute(f'SELECT count(*) FROM "{t}"').fetchone()[0] for t in tables}  # noqa: S608 - the same
        finally:
            connection.close()
    except (OSError, sqlite3.Error) as error:
        return {"file": str(path), "error": str(error)}
    return {"file": str(path), "bytes": size, "integrity": verdict, "revision": revisions, "rows": rows}


def _recording(bundle: Bundle, place: Path) -> None:
    try:
        recording = open_recording(place)
        try:
            with tempfile.TemporaryDirectory() as folder:
                target = Path(folder) / "recording.brec"
                begin = max(recording.begins_at, recording.ends_at - RECORDING_S)
                export_recording(recording, target, begins_at=begin, redact=bundle.redact, names=bundle.names)
                bundle.add_bytes("recording.brec", "the last six hours, for basilica-tui replay", target.read_bytes())
        finally:
            recording.close()
    except (BasilicaError, OSError) as error:
        bundle.note(f"recording: {error}")


def _metrics(bundle: Bundle, loaded: AnyLoaded) -> None:
    section = loaded.config.metrics
    if not section.enabled:
        bundle.note("metrics: turned off")
        return
    host = section.prometheus.host
    host = "127.0.0.1" if host in {"0.0.0.0", "::"} else host
    url = f"http://{f'[{host}]' if ':' in host else host}:{section.prometheus.port}{section.prometheus.path}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            bundle.add_text("metrics.txt", "one scrape", answer.read(METRICS_BYTES).decode("utf-8", "replace"))
    except OSError as error:
        bundle.note(f"metrics: {url} does not answer: {error}")


def _log_file(bundle: Bundle, loaded: AnyLoaded) -> None:
    path = loaded.config.logging.file
    if path is None:
        return
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - LOG_FILE_BYTES, 0))
            text = file.read(LOG_FILE_BYTES).decode("utf-8", "replace")
    except OSError as error:
        bundle.note(f"log file: {error.strerror or error}")
        return
    bundle.add_text("logfile.txt", "the end of the log file", text)


async def _diagnosis(bundle: Bundle, wanted: Wanted, clock: Clock) -> None:
    assert wanted.config_path is not None
    scopes = set(Scope) if wanted.with_nodes else set(Scope) - {Scope.NODE, Scope.ACCESS}
    try:
        async with asyncio.timeout(DIAGNOSIS_S):
            patient = await asyncio.to_thread(load_patient, wanted.config_path)
            nodes = None if wanted.with_nodes else ()  # the checks of this host would ask them, too
            report = await Doctor(patient, Tools(clock, with_container=False)).examine(scopes, nodes)
    except (BasilicaError, TimeoutError, OSError) as error:
        bundle.note(f"diagnosis: {error or f'not done within {DIAGNOSIS_S:.0f} s'}")
        return
    bundle.add_json("diagnosis.json", "what doctor says", json.loads(render_json(report)))


def _crashes(bundle: Bundle, folder: Path) -> None:
    for path in sorted(folder.glob("crash-*.txt"))[-CRASH_REPORTS:]:
        try:
            bundle.add_text(path.name, "a console that stopped by a mistake of its own", path.read_text("utf-8"))
        except OSError as error:
            bundle.note(f"{path.name}: {error.strerror or error}")
