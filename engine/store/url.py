"""Database URLs as operators write them: ``sqlite:PATH`` like the deployed miner, or ``postgresql://…``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from engine.errors import StoreUnusable


@dataclass(frozen=True, slots=True)
class SqliteFiles:
    """The files that belong to one SQLite store, all beside each other."""

    state: Path

    @property
    def events(self) -> Path:
        """The event log's own database: it may be lost without losing a promise."""
        return self.state.with_name(f"{self.state.stem}.events.db")

    @property
    def lock(self) -> Path:
        """Held by the one engine that may use these files."""
        return self.state.with_name(f"{self.state.stem}.lock")

    @property
    def ballast(self) -> Path:
        """Space kept in reserve, given up when the disk is full."""
        return self.state.with_name(f"{self.state.stem}.ballast")


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A PostgreSQL database by its URL, as ``psql`` takes it."""

    url: str

    @property
    def name(self) -> str:
        """The URL without user, password and options: for people, logs and messages."""
        parts = urlsplit(self.url)
        options = parse_qs(parts.query)
        host = parts.netloc.rpartition("@")[2]
        database = parts.path or f"/{options.get('dbname', options.get('database', ['']))[-1]}"
        at = options.get("host", [""])[-1]
        return f"postgresql://{host}{database}" + (f"?host={quote(at, safe='/,')}" if at else "")


def parse_url(url: str) -> SqliteFiles | PostgresServer:
    """Where the store lives.

    As in the deployed miner, ``sqlite:`` and ``sqlite://`` are both followed by the path itself, so that three
    slashes begin an absolute one. ``?mode=rwc`` and the like are accepted and change nothing.

    Raises:
        StoreUnusable: another kind of database, no path, memory only, read-only, or no driver for it.
    """
    scheme, separator, rest = url.partition(":")
    if not separator:
        raise StoreUnusable(
            f"database url {url!r} has no scheme", hint="write sqlite:./data/miner.db or postgresql://user@host/name"
        )
    if scheme == "sqlite":
        return _sqlite(url, rest)
    if scheme in ("postgresql", "postgres", "postgresql+asyncpg"):
        return _postgres(rest)
    raise StoreUnusable(f"database url scheme {scheme!r} is not supported", hint="use sqlite: or postgresql:")


def _sqlite(url: str, rest: str) -> SqliteFiles:
    path_text, _, query = rest.partition("?")
    path_text = unquote(path_text.removeprefix("//"))
    mode = parse_qs(query).get("mode", ["rwc"])[-1]
    if path_text in ("", ":memory:") or mode == "memory":
        raise StoreUnusable(
            f"database url {url!r} names no file",
            hint="grants must survive a restart; name a file, as in sqlite:./data/miner.db",
        )
    if mode == "ro":
        raise StoreUnusable(f"database url {url!r} asks for read-only", hint="remove mode=ro: the engine must write")
    path = Path(path_text).expanduser()
    if path.is_dir():
        raise StoreUnusable(f"database {path} is a directory", hint="name a file in it")
    return SqliteFiles(path)


def _postgres(rest: str) -> PostgresServer:
    if not rest.startswith("//"):
        raise StoreUnusable(
            "the database url names no PostgreSQL server",
            hint="write postgresql://USER@HOST/NAME, or postgresql:///NAME?host=/var/run/postgresql for a socket",
        )
    server = PostgresServer(f"postgresql:{rest}")
    try:
        urlsplit(server.url).port  # noqa: B018 - raises on what is no port
    except ValueError:
        raise StoreUnusable(
            "the database url cannot be read: its host or its port is none",
            hint="percent-encode what is special in user and password, / as %2F; a port is a number up to 65535",
        ) from None
    return server
