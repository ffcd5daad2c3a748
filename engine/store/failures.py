"""Database errors in the operator's words; nothing of SQLAlchemy or sqlite3 travels further than this room."""

from __future__ import annotations

import errno
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from engine.errors import StoreStrained, StoreUnusable

_kinds: list[type[BaseException]] = [SQLAlchemyError, sqlite3.Error, OSError]


def also_translate(*kinds: type[BaseException]) -> None:
    """Have a driver's own errors translated as well; for a driver that is only loaded where it is used."""
    _kinds.extend(kind for kind in kinds if kind not in _kinds)


def library_errors() -> tuple[type[BaseException], ...]:
    """What the libraries below raise."""
    return tuple(_kinds)


class StoreDamaged(StoreUnusable):
    """The file's content is not a sound database."""


_SITUATIONS: dict[str, tuple[str, str]] = {
    "FULL": ("has no space left", "free some disk space; the engine goes on where it was"),
    "READONLY": ("cannot be written", "check owner and mode of the file, its directory and its file system"),
    "CORRUPT": ("is damaged", "stop the engine, keep a copy of the file, and restore a backup or start a new one"),
    "NOTADB": ("is not a SQLite database", "check the path, or move the file away to start a new one"),
    "CANTOPEN": ("cannot be opened", "check that the directory exists and may be read and written"),
    "BUSY": ("is locked by another program", "close what has it open, such as a sqlite3 shell or a backup"),
    "LOCKED": ("is locked by another program", "close what has it open, such as a sqlite3 shell or a backup"),
    "IOERR": ("cannot be read or written", "check the disk: the operating system reports an input/output error"),
    "PERM": ("may not be accessed", "check owner and mode of the file and its directory"),
}
_STRAINS = ("FULL", "BUSY", "LOCKED", "IOERR")

_SERVER_SITUATIONS: dict[str, tuple[str, str]] = {
    "28": ("does not let us in", "check user and password in database.url, ~/.pgpass and the server's pg_hba.conf"),
    "3D000": ("does not exist", "create it: createdb NAME"),
    "42501": ("refuses what this user may not do", "make the user owner of the database: ALTER DATABASE … OWNER TO …"),
    "42P01": ("lacks a table", "somebody removed it; restore a backup, or name an empty database"),
    "22": ("does not take a value", "this is an error in this program; please report it"),
    "25006": ("is read-only", "name the primary server, and check default_transaction_read_only"),
    "53100": ("has no space left", "free some disk space on the server; the engine goes on where it was"),
    "53": ("has no room for us", "raise max_connections on the server or lower database.max_connections"),
    "55P03": ("is locked by another program", "close what holds its tables, such as a psql transaction"),
    "57014": ("took too long", "look for long transactions in pg_stat_activity, and at the server's load"),
    "57": ("is going down or starting", "the engine connects again by itself"),
    "08": ("lost the connection", "the engine connects again by itself"),
}
"""By the beginning of SQLSTATE, the longest that fits."""
_NOT_REACHED = (
    "cannot be reached",
    "check host and port in database.url, and that the server runs; the engine tries again by itself",
)


def is_full(error: BaseException) -> bool:
    """Whether the disk, not the database, is what is wrong."""
    return _situation(error) == "FULL"


def translate(error: BaseException, name: str) -> StoreUnusable:
    """What to tell the operator about a failure of the database called ``name``."""
    if name.startswith("postgresql:"):
        return _translate_server(error, name)
    situation = _situation(error)
    words, hint = _SITUATIONS.get(situation, ("failed", ""))
    return _class_of(situation)(f"database {name} {words}: {_detail(error)}", hint=hint)


def _class_of(situation: str) -> type[StoreUnusable]:
    if situation in ("CORRUPT", "NOTADB"):
        return StoreDamaged
    return StoreStrained if situation in _STRAINS else StoreUnusable


def _translate_server(error: BaseException, name: str) -> StoreUnusable:
    """A server comes back, so only what waiting cannot mend is more than a strain."""
    original = _original(error)
    state = str(getattr(original, "sqlstate", None) or "")
    key = next((state[:size] for size in (5, 2) if state[:size] in _SERVER_SITUATIONS), "")
    words, hint = _SERVER_SITUATIONS.get(key, ("failed", ""))
    if isinstance(original, OSError):  # TimeoutError and socket.gaierror too
        words, hint = _NOT_REACHED
    elif not state and type(original).__name__ in ("ConnectionDoesNotExistError", "InterfaceError"):
        words, hint = _SERVER_SITUATIONS["08"]
    kind = StoreUnusable if key in ("42P01", "3D000", "42501") else StoreStrained
    return kind(f"database {name} {words}: {_detail(error) or type(original).__name__}", hint=hint)


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn library errors inside the block into StoreUnusable."""
    try:
        yield
    except library_errors() as error:
        raise translate(error, name) from error


def _original(error: BaseException) -> BaseException:
    """The driver's own exception below SQLAlchemy's wrapping."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        # aiosqlite's adapter names the driver's error, asyncpg's chains to it.
        original = getattr(error.orig, "driver_exception", None) or error.orig.__cause__ or error.orig
        return original if isinstance(original, BaseException) else error
    return error


def _situation(error: BaseException) -> str:
    original = _original(error)
    if isinstance(original, OSError):
        return {
            errno.ENOSPC: "FULL",
            errno.EDQUOT: "FULL",
            errno.EROFS: "READONLY",
            errno.EACCES: "PERM",
            errno.EPERM: "PERM",
            errno.EIO: "IOERR",
        }.get(original.errno or 0, "CANTOPEN")
    # Extended names carry the plain one in second place: SQLITE_IOERR_WRITE, SQLITE_READONLY_DBMOVED.
    parts = getattr(original, "sqlite_errorname", "").split("_")
    return parts[1] if len(parts) > 1 else ""


def _detail(error: BaseException) -> str:
    original = _original(error)
    if isinstance(original, socket.gaierror):
        return original.args[-1] if original.args else str(original)
    if isinstance(original, OSError):
        return original.strerror or str(original)
    return str(original).strip().partition("\n")[0]
