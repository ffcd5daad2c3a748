"""Where the files are: the console's own, and those that a configuration names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from basilica_tui.format import Line, Look
from basilica_tui.lines import join
from basilica_tui.preferences import config_folder, state_folder

ENGINE_KEYS: Mapping[str, str] = {
    "engine.socket": "control socket", "engine.data_dir": "data directory", "database.url": "database",
    "logging.file": "log file", "recording.directory": "recording", "bittensor.wallet_path": "wallets",
    "bittensor.wallet_name": "wallet", "bittensor.hotkey_name": "hotkey",
    "ssh_session.miner_node_key_path": "node key", "ssh_session.known_hosts_path": "host keys",
}  # fmt: skip
"""Settings that name a place, in the order in which they are told."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One place: what it is, where, and who said so; ``state`` is empty for what is no file."""

    name: str
    where: str
    source: str = ""
    state: str = ""


def state_of(path: Path) -> str:
    """``there``, ``not there``, or that it cannot be looked at."""
    try:
        return "there" if path.exists() else "not there"
    except OSError as error:
        return error.strerror or "cannot be looked at"


def spot(name: str, path: Path, source: str = "default") -> Spot:
    """A file or directory."""
    return Spot(name, str(path), source, state_of(path))


def console_spots(env: Mapping[str, str]) -> list[Spot]:
    """What the console reads and writes."""
    config, state = config_folder(env), state_folder(env)
    own = "XDG_CONFIG_HOME" if env.get("XDG_CONFIG_HOME", "").startswith("/") else "default"
    kept = "XDG_STATE_HOME" if env.get("XDG_STATE_HOME", "").startswith("/") else "default"
    return [
        spot("settings", config / "console.toml", own),
        spot("themes", config / "themes", own),
        spot("preferences", state / "views.json", kept),
        spot("exports, crash reports", state, kept),
    ]


def engine_spots(settings: Iterable[tuple[str, str, str]]) -> list[Spot]:
    """Of key, value and source of each setting: those that name a place."""
    known = {key: (value, source) for key, value, source in settings}
    return [
        Spot(name, known[key][0], f"{key} ({known[key][1] or 'not said'})")
        for key, name in ENGINE_KEYS.items()
        if key in known and known[key][0] not in {"", "null", "-", "not set"}
    ]


def spot_lines(groups: Mapping[str, Sequence[Spot]], look: Look) -> list[Line]:
    """A title per group, then name, place, state and source."""
    width = max((len(one.name) for spots in groups.values() for one in spots), default=0)
    lines: list[Line] = []
    for title, spots in groups.items():
        lines += [(), ((f" {title.upper()}", "title"),)]
        for one in spots:
            parts: list[Line] = [((one.where, ""),)]
            if one.state:
                parts.append(((one.state, "dim" if one.state == "there" else "warn"),))
            if one.source:
                parts.append(((one.source, "dim"),))
            lines.append(((f"   {one.name:<{width}}  ", "dim"), *join(parts, ("  ", ""))))
    return lines
