"""Database errors in the operator's words; nothing of SQLAlchemy or sqlite3 travels further than this room."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from engine.errors import StoreStrained, StoreUnusable


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


def is_full(error: BaseException) -> bool:
    """Whether the disk, not the database, is what is wrong."""
    return _situation(error) == "FULL"


def translate(error: BaseException, name: str) -> StoreUnusable:
    """What to tell the operator about a failure of the database called ``name``."""
    situation = _situation(error)
    words, hint = _SITUATIONS.get(situation, ("failed", ""))
    return _class_of(situation)(f"database {name} {words}: {_detail(error)}", hint=hint)


def _class_of(situation: str) -> type[StoreUnusable]:
    if situation in ("CORRUPT", "NOTADB"):
        return StoreDamaged
    return StoreStrained if situation in ("FULL", "BUSY", "LOCKED", "IOERR") else StoreUnusable


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn library errors inside the block into StoreUnusable."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise translate(error, name) from error


def _original(error: BaseException) -> BaseException:
    """The driver's own exception below SQLAlchemy's wrapping."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        original = getattr(error.orig, "driver_exception", None) or error.orig
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
    if isinstance(original, OSError):
        return original.strerror or str(original)
    return str(original)
