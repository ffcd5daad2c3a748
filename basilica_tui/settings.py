"""``console.toml``: keys, theme, marks, thresholds, engines, and themes of their own; no mistake in it is fatal."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from textual.color import Color, ColorParseError
from textual.theme import Theme

from basilica_tui.bell import BELLS, Bell
from basilica_tui.bindings import BINDINGS, KeyBinding, remap
from basilica_tui.key_names import key_name
from basilica_tui.pace import NORMAL_S, parse_pace
from basilica_tui.profiles import EngineProfile, parse_profiles
from basilica_tui.themes import THEME_NAMES, TONES, make_theme
from basilica_tui.thresholds import USUAL, Thresholds, parse_thresholds

_KNOWN = frozenset({"keys", "theme", "ascii", "engines", "thresholds", "bell", "refresh"})
COLOURS = ("foreground", "background", "panel", *TONES, "cursor", "edge")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the file says; ``problems`` holds a sentence for each line that means nothing."""

    bindings: tuple[KeyBinding, ...] = BINDINGS
    theme: str | None = None
    ascii_only: bool | None = None
    themes: tuple[Theme, ...] = ()
    problems: tuple[str, ...] = field(default=())
    engines: Mapping[str, EngineProfile] = field(default_factory=dict)
    bell: Bell | None = None
    """None where the file says nothing: the bell for operators, silence for who only looks."""
    pace_s: float = NORMAL_S
    limits: Thresholds = USUAL


def load_settings(folder: Path) -> Settings:
    """Read ``console.toml`` and ``themes/*.toml`` in the folder; what is missing stays as it is."""
    themes, problems = load_themes(folder / "themes")
    data, unreadable = _read(folder / "console.toml")
    problems += unreadable
    for name in data.keys() - _KNOWN:
        problems.append(f"console.toml: {name} is not known; {', '.join(sorted(_KNOWN))} are")
    keymap, key_problems = _keymap(data.get("keys", {}))
    bindings, clashes = remap(BINDINGS, keymap)
    engines, engine_problems = parse_profiles(data.get("engines", {}))
    limits, limit_problems = parse_thresholds(data.get("thresholds", {}))
    theme, ascii_only = data.get("theme"), data.get("ascii")
    names = [*THEME_NAMES, *(t.name for t in themes)]
    engines, looks_problems = _looks(engines, names)
    bell, pace_s, pace_problems = _bell_and_pace(data)
    if theme is not None and theme not in names:
        problems.append(f"console.toml: there is no theme {theme}; there are {', '.join(names)}")
        theme = None
    if ascii_only is not None and not isinstance(ascii_only, bool):
        problems.append("console.toml: ascii is true or false")
        ascii_only = None
    return Settings(
        bindings,
        theme if isinstance(theme, str) else None,
        ascii_only if isinstance(ascii_only, bool) else None,
        tuple(themes),
        (*problems, *key_problems, *clashes, *engine_problems, *looks_problems, *pace_problems, *limit_problems),
        engines,
        bell,
        pace_s,
        limits,
    )


def unreadable(folder: Path) -> str:
    """Why ``console.toml`` means nothing as a whole; empty when it can be read, or is not there."""
    return next(iter(_read(folder / "console.toml")[1]), "")


def _bell_and_pace(data: Mapping[str, object]) -> tuple[Bell | None, float, list[str]]:
    problems = []
    wanted = data.get("bell")
    bell = next((b for b in BELLS if b == wanted), None)
    if wanted is not None and bell is None:
        problems.append(f"console.toml: bell is one of {', '.join(BELLS)}")
    pace_s = parse_pace(str(data.get("refresh", "1s")))
    if pace_s is None:
        problems.append('console.toml: refresh is a time from half a second to a minute, such as "5s"')
    return bell, NORMAL_S if pace_s is None else pace_s, problems


def _looks(engines: Mapping[str, EngineProfile], themes: Sequence[str]) -> tuple[dict[str, EngineProfile], list[str]]:
    """Engines without colours that do not exist, and a sentence for each of those."""
    kept, problems = dict(engines), []
    for name, profile in engines.items():
        if profile.theme and profile.theme not in themes:
            problems.append(f"console.toml: engines.{name}: there is no theme {profile.theme}")
            kept[name] = replace(kept[name], theme="")
        if profile.edge and not _is_colour(profile.edge):
            problems.append(f"console.toml: engines.{name}: {profile.edge} is no colour")
            kept[name] = replace(kept[name], edge="")
    return kept, problems


def _read(path: Path) -> tuple[dict[str, object], list[str]]:
    try:
        return tomllib.loads(path.read_text("utf-8")), []
    except FileNotFoundError:
        return {}, []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return {}, [f"{path.name} cannot be read: {error}"]
    except RecursionError:
        return {}, [f"{path.name} cannot be read: it is nested too deeply"]


def _keymap(table: object) -> tuple[dict[str, Sequence[str]], list[str]]:
    if not isinstance(table, dict):
        return {}, ["console.toml: [keys] is a table of id = key"]
    keymap: dict[str, Sequence[str]] = {}
    problems = []
    for name, value in _flat(table):
        keys = [value] if isinstance(value, str) else value
        if isinstance(keys, list) and all(isinstance(key, str) for key in keys):
            named = {key: key_name(key) for key in keys if key}
            problems += [f"console.toml: keys.{name}: {key} is no key" for key, found in named.items() if found is None]
            known = [found for found in named.values() if found is not None]
            if known or not named:
                keymap[name] = known
        else:
            problems.append(f"console.toml: keys.{name} is a key or a list of keys")
    return keymap, problems


def _flat(table: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    """Ids hold dots, which TOML reads as tables."""
    pairs: list[tuple[str, object]] = []
    for name, value in table.items():
        pairs += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return pairs


def load_themes(folder: Path) -> tuple[list[Theme], list[str]]:
    """The operator's own themes, one a file, and a sentence for each file that is none."""
    themes, problems = [], []
    for path in sorted(folder.glob("*.toml")):
        data, unreadable = _read(path)
        problems += unreadable
        wrong = [name for name in COLOURS if name in data and not _is_colour(data[name])]
        if wrong:
            problems.append(f"themes/{path.name}: {', '.join(wrong)} is no colour")
        elif not unreadable and path.stem not in THEME_NAMES:
            colours = {name: str(data[name]) for name in COLOURS if name in data}
            themes.append(make_theme(path.stem, colours, dark=data.get("dark", True) is not False))
    return themes, problems


def _is_colour(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(Color.parse(value))
    except ColorParseError:
        return False
