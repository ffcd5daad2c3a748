"""What the operator chose, kept for the next time: sorting, columns and filter of each table. Never in their config."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

FILE_LIMIT = 256 * 1024


@dataclass(frozen=True, slots=True)
class ViewPreferences:
    """One table; the defaults are what a new operator sees."""

    sort: str = ""
    reverse: bool = False
    columns: tuple[str, ...] = ()
    """Ids in their order; empty for the table's own."""
    filter: str = ""
    problems_only: bool = False
    wide: bool = False


class Preferences:
    """A small JSON file; without a path (tests, read-only homes) nothing is kept."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._views: dict[str, ViewPreferences] = _read(path) if path is not None else {}

    def of(self, view: str) -> ViewPreferences:
        """What was chosen there."""
        return self._views.get(view, ViewPreferences())

    def keep(self, view: str, chosen: ViewPreferences) -> None:
        """Remember it; a file that cannot be written costs nothing but the memory."""
        if chosen == self.of(view):
            return
        self._views[view] = chosen
        if self._path is not None:
            _write(self._path, {name: asdict(v) for name, v in self._views.items()})


def state_folder(env: Mapping[str, str]) -> Path:
    """Where the console keeps what it remembers."""
    base = env.get("XDG_STATE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "basilica-tui"


def config_folder(env: Mapping[str, str]) -> Path:
    """Where the operator's own settings for the console are."""
    base = env.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".config") / "basilica-tui"


def _read(path: Path) -> dict[str, ViewPreferences]:
    try:
        if path.stat().st_size > FILE_LIMIT:
            return {}
        data = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    views = data.items() if isinstance(data, dict) else ()
    return {str(name): _view(values) for name, values in views if isinstance(values, dict)}


def _view(values: Mapping[str, object]) -> ViewPreferences:
    kept: dict[str, object] = {}
    for field in fields(ViewPreferences):
        value, default = values.get(field.name), field.default
        if isinstance(default, tuple) and isinstance(value, list):
            kept[field.name] = tuple(str(v) for v in value)
        elif type(value) is type(default):
            kept[field.name] = value
    return ViewPreferences(**kept)  # type: ignore[arg-type]  # each value was checked against its default's type


def _write(path: Path, views: Mapping[str, object]) -> None:
    draft: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        draft = Path(name)
        with os.fdopen(descriptor, "w") as file:
            json.dump(views, file, indent=1)
        draft.replace(path)
    except OSError:
        if draft is not None:  # a full disk is not filled further, one draft for every key pressed
            with contextlib.suppress(OSError):
                draft.unlink()
