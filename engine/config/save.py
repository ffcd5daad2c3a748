"""Changing a configuration file in place: comments, order and unknown keys stay, and nothing is lost on the way."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeGuard

import tomlkit
from pydantic import ValidationError
from tomlkit.exceptions import TOMLKitError

from engine.config.detect import detect_role
from engine.config.miner import MinerConfig
from engine.config.node_list import plain, replace_tables
from engine.config.problems import sentences
from engine.config.toml_file import parse_toml, read_toml
from engine.config.validator import ValidatorConfig
from engine.errors import ConfigInvalid
from engine.ownership import take_after_directory

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def save_config(
    path: Path, changes: Mapping[str, object], *, expected_sha256: str | None = None, now: float | None = None
) -> Path:
    """Set dotted keys (``node_management.nodes[0].name``) in a file; None removes a key. Returns the backup's path.

    Writes nothing and raises ConfigInvalid when the file is no longer the one with ``expected_sha256`` (from
    ``Loaded.sha256``), or when a change introduces a value that its key cannot hold.
    """
    path = path.expanduser().resolve()
    before = read_toml(path)
    if expected_sha256 is not None and before.sha256 != expected_sha256:
        raise _invalid(f"{path}: was changed by someone else since it was loaded; load it again, then save")
    try:
        document = tomlkit.parse(before.text)
        for key, value in changes.items():
            _set(document, key, value, path)
        text = tomlkit.dumps(document)
    except TOMLKitError as error:
        raise _invalid(f"{path}: cannot be changed in place: {error}") from error
    new = _refusals(path, parse_toml(path, text.encode()).data) - _refusals(path, before.data)
    if new:
        problems = tuple(sorted(new))
        raise ConfigInvalid("; ".join(problems), problems=problems)
    return _replace(path, text, before.sha256, now)


def write_config(path: Path, text: str, *, now: float | None = None) -> Path | None:
    """Write a whole file; an existing one is backed up first and keeps its mode. Returns the backup's path, if any."""
    path = path.expanduser().resolve()
    parse_toml(path, text.encode())
    if path.exists():
        return _replace(path, text, read_toml(path).sha256, now)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _swap_in(path, text.encode(), None)
        take_after_directory(path)  # what root writes for an engine of another user has to be readable for that one
    except OSError as error:
        raise _invalid(f"{path}: cannot be written ({error.strerror})") from error
    return None


def back_up_config(path: Path, *, now: float | None = None) -> Path:
    """Copy a configuration file as it is to ``NAME.bak-TIME`` beside it; returns the copy's path."""
    path = path.expanduser().resolve()
    try:
        return _back_up(path, path.stat(), time.time() if now is None else now)
    except OSError as error:
        raise _invalid(f"{path}: cannot be backed up ({error.strerror})") from error


def copies_of(path: Path) -> tuple[Path, ...]:
    """Copies that ``back_up_config`` and every save made beside a file, newest first."""
    path = path.expanduser().resolve()
    try:
        found = [copy for copy in path.parent.iterdir() if copy.name.startswith(f"{path.name}.bak-") and copy.is_file()]
    except OSError:
        return ()
    return tuple(sorted(found, key=lambda copy: (copy.stat().st_mtime, copy.name), reverse=True))


def _set(document: Any, key: str, value: object, path: Path) -> None:
    steps: list[str | int] = [name or int(index) for name, index in _STEP.findall(key)]
    if not steps or isinstance(steps[0], int):
        raise _invalid(f"{path}: {key!r} is not a key")
    table = document
    for step, following in itertools.pairwise(steps):
        if _is_room(table, step) and step not in table and isinstance(step, str) and isinstance(following, str):
            if value is None:
                return
            table[step] = tomlkit.table()
        table = table[step] if _is_room(table, step) and (isinstance(step, int) or step in table) else None
    if not _is_room(table, steps[-1]):
        raise _invalid(f"{path}: {key} does not exist, so it cannot be changed")
    _assign(table, steps[-1], value)


def _is_room(table: object, step: str | int) -> bool:
    """Whether a key, or an existing index, can be set in this part of the document."""
    if isinstance(step, str):
        return isinstance(table, dict)
    return isinstance(table, list) and step < len(table)


def _assign(table: Any, last: str | int, value: object) -> None:
    if value is None:
        if isinstance(last, int) or last in table:
            del table[last]
    elif isinstance(last, str) and isinstance(table.get(last), list) and _is_tables(value):
        replace_tables(table, last, value)
    else:
        table[last] = plain(value)


def _is_tables(value: object) -> TypeGuard[Sequence[Mapping[str, object]]]:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _refusals(path: Path, data: dict[str, Any]) -> frozenset[str]:
    try:
        is_validator = detect_role(path) == "validator"
    except ConfigInvalid:
        is_validator = False
    model = ValidatorConfig if is_validator else MinerConfig
    try:
        model.model_validate(data)
    except ValidationError as error:
        return frozenset(sentences(error, lambda _: str(path)))
    return frozenset()


def _replace(path: Path, text: str, expected_sha256: str, now: float | None) -> Path:
    try:
        status = path.stat()
        backup = _back_up(path, status, time.time() if now is None else now)
        if read_toml(path).sha256 != expected_sha256:
            raise _invalid(f"{path}: was changed by someone else while it was being saved; load it again, then save")
        _swap_in(path, text.encode(), status)
    except OSError as error:
        raise _invalid(f"{path}: cannot be saved ({error.strerror}); check the directory's owner and space") from error
    return backup


def _back_up(path: Path, status: os.stat_result, now: float) -> Path:
    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    content = path.read_bytes()
    for suffix in ("", *(f"-{number}" for number in range(2, 1000))):
        backup = path.with_name(f"{path.name}.bak-{stamp}{suffix}")
        with contextlib.suppress(FileExistsError):
            handle = os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(handle, "wb") as file:
                    _like(file.fileno(), status)
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            except BaseException:  # half a copy would be the newest one, which a restore takes
                backup.unlink(missing_ok=True)
                raise
            return backup
    raise _invalid(f"{path}: no free name for a backup; remove old backups")


def _swap_in(path: Path, content: bytes, status: os.stat_result | None) -> None:
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            if status is not None:
                _like(file.fileno(), status)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _like(handle: int, status: os.stat_result) -> None:
    """Owner and mode of the original, as far as this user may."""
    with contextlib.suppress(PermissionError):
        os.fchown(handle, status.st_uid, status.st_gid)
    os.fchmod(handle, stat.S_IMODE(status.st_mode))


def _invalid(sentence: str) -> ConfigInvalid:
    return ConfigInvalid(sentence, problems=(sentence,))
