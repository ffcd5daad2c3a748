"""What an operator may see and change of the configuration file from a console: values with origin, set, restore."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from engine.config import Loaded, mask_config
from engine.config.common import RoleConfig
from engine.config.masking import mask_value
from engine.config.shape import leaves
from engine.config.show import text_of
from engine.control.actions import ActionTable
from engine.errors import ConfigInvalid, ControlRefused

BACKUPS_SHOWN = 50
FILE_LIMIT_BYTES = 1024 * 1024

Report = Callable[[str], None]
Args = Mapping[str, object]
Load = Callable[[], Awaitable[Loaded[Any]]]
"""Reads and checks the file as a reload would. Raises ConfigInvalid."""


class ConfigActions:
    """The verbs ``config.show``, ``config.set``, ``config.backups`` and ``config.restore``."""

    def __init__(self, running: Callable[[], RoleConfig], load: Load) -> None:
        self._running = running
        self._load = load
        self._path: Path | None = None

    def register(self, actions: ActionTable) -> None:
        """Add the verbs."""
        actions.register("config.show", self._show, help="the configuration in force, and its origin", danger=False)
        actions.register("config.set", self._set, help="change one key of the file, after a backup", danger=True)
        actions.register("config.backups", self._backups, help="earlier copies of the file", danger=False)
        actions.register("config.restore", self._restore, help="put a backup of the file in place", danger=True)

    async def _show(self, args: Args, report: Report) -> Mapping[str, object]:
        running = self._running()
        shown: dict[str, object] = {
            "config": mask_config(running.model_dump(mode="json", exclude_defaults=True, exclude_none=True))
        }
        now = {key: _text(key, value) for key, value in leaves(running)}
        try:
            loaded = await self._load()
        except ConfigInvalid as error:
            problems = list(error.problems or (error.message,))
            values = {key: {"value": value, "file": value, "source": ""} for key, value in now.items()}
            return {**shown, "values": values, "problems": problems}
        self._path = loaded.path
        wanted = {key: _text(key, value) for key, value in leaves(loaded.config)}
        sources = {key: loaded.sources.get(key, "default") for key in {**now, **wanted}}
        values = {
            key: {"value": now.get(key, "-"), "file": wanted.get(key, "-"), "source": sources[key]}
            for key in {**now, **wanted}
            if not _is_plain_item(key, now, wanted, sources)
        }
        return {
            **shown, "values": values, "problems": [], "warnings": list(loaded.warnings),
            "path": str(loaded.path or ""), "sha256": loaded.sha256 or "",
            "sources": {k: s for k, s in sources.items() if s != "default"},
        }  # fmt: skip

    async def _set(self, args: Args, report: Report) -> Mapping[str, object]:
        key, text, expected = _word(args, "key"), args.get("value"), args.get("sha256")
        if not isinstance(text, str):
            raise ControlRefused(
                "'value' is missing", hint="a TOML value, or nothing for the default", reason="bad_argument"
            )
        from engine.config.save import save_config  # noqa: PLC0415 - TOML with comments is read when somebody writes

        path = await self._file()
        value = parse_value(text)
        report(f"saving {path.name}, after a backup")
        backup = await asyncio.to_thread(
            save_config,
            path,
            {key: value},
            expected_sha256=expected if isinstance(expected, str) and expected else None,
        )
        return {"message": f"saved; the file before is {backup.name}", "backup": backup.name, "path": str(path)}

    async def _backups(self, args: Args, report: Report) -> Mapping[str, object]:
        path = await self._file()
        found = await asyncio.to_thread(lambda: [(p.name, p.stat()) for p in backups_of(path)])
        return {"backups": [{"name": name, "at": status.st_mtime, "bytes": status.st_size} for name, status in found]}

    async def _restore(self, args: Args, report: Report) -> Mapping[str, object]:
        name, path = _word(args, "name"), await self._file()
        chosen = next((p for p in await asyncio.to_thread(backups_of, path) if p.name == name), None)
        if chosen is None:
            raise ControlRefused("there is no such backup", hint="config.backups lists them", reason="unknown_backup")

        from engine.config.save import write_config  # noqa: PLC0415 - as above

        def put_back() -> Path | None:
            if chosen.stat().st_size > FILE_LIMIT_BYTES:
                raise ConfigInvalid(f"{name} is too large for a configuration")
            return write_config(path, chosen.read_text())

        report(f"putting {name} in place, after a backup")
        backup = await asyncio.to_thread(put_back)
        return {"message": f"{name} is in place; the file before is {backup.name if backup else 'none'}"}

    async def _file(self) -> Path:
        if self._path is None:
            self._path = (await self._load()).path
        if self._path is None:
            raise ControlRefused("this engine was not started from a file", reason="no_file")
        return self._path.expanduser().resolve()


def parse_value(text: str) -> object:
    """What was typed as a TOML value; a word that is none is a text, nothing is None: the default."""
    text = text.strip()
    if not text:
        return None
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def backups_of(path: Path) -> list[Path]:
    """The copies beside the file, newest first."""
    found = [p for p in path.parent.glob(f"{path.name}.bak-*") if p.is_file() and not p.is_symlink()]
    return sorted(found, key=lambda p: p.name, reverse=True)[:BACKUPS_SHOWN]


def _is_plain_item(key: str, now: Mapping[str, str], wanted: Mapping[str, str], sources: Mapping[str, str]) -> bool:
    """A default inside an array of tables: a thousand nodes have tens of thousands of them, and nobody asked."""
    return "[" in key and sources[key] == "default" and now.get(key) == wanted.get(key)


def _text(key: str, value: object) -> str:
    return text_of(mask_value(key, value))


def _word(args: Args, name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not value:
        raise ControlRefused(f"'{name}' is missing", hint=f"give {name}=…", reason="bad_argument")
    return value
