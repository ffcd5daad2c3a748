"""Editing the configuration file in the operator's own editor: a copy is judged and shown, then takes its place."""

# ruff: noqa: PLC0415 - the configuration's rooms are loaded when somebody edits

from __future__ import annotations

import contextlib
import difflib
import os
import re
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ConfigInvalid

_SETTING = re.compile(r"^([ +-]\s*)([\w.\"-]+)(\s*=\s*)(.*)$")


@dataclass(frozen=True, slots=True)
class Edited:
    """What became of the copy: the difference as unified text with secrets masked, and why it would be refused."""

    text: str
    diff: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def editor_of(env: Mapping[str, str]) -> list[str]:
    """The words that start the operator's editor; empty where none is named."""
    try:
        return shlex.split(env.get("VISUAL") or env.get("EDITOR") or "")
    except ValueError:
        return []


@contextlib.contextmanager
def copy_to_edit(path: Path) -> Iterator[tuple[Path, str]]:
    """A copy beside the file, for its owner's eyes only, and the checksum of what was copied; gone with the block.

    Raises ConfigInvalid when the file cannot be read or nothing can be written beside it.
    """
    from engine.config.toml_file import read_toml

    path = path.expanduser().resolve()
    before = read_toml(path)
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix or ".toml")
    except OSError as error:
        raise ConfigInvalid(
            f"{path.parent}: nothing can be written there ({error.strerror})", hint="edit as the file's owner"
        ) from error
    copy = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(before.text)
        yield copy, before.sha256
    finally:
        copy.unlink(missing_ok=True)
        copy.with_name(f"{copy.name}~").unlink(missing_ok=True)  # editors leave their own backups


def judge_copy(path: Path, copy: Path) -> Edited:
    """Read the copy as the engine would. Raises ConfigInvalid when one of both cannot be read at all."""
    from engine.config import load_config
    from engine.config.toml_file import read_toml

    old, new = read_toml(path.expanduser().resolve()).text, _text_of(copy)
    if old == new:
        return Edited(new)
    diff = tuple(masked(line) for line in difflib.unified_diff(
        old.splitlines(), new.splitlines(), path.name, "edited", lineterm="", n=2))  # fmt: skip
    try:
        return Edited(new, diff, (), load_config(copy).warnings)
    except ConfigInvalid as error:
        found = error.problems or (error.message,)
        return Edited(new, diff, tuple(problem.replace(str(copy), path.name) for problem in found))


def put_in_place(path: Path, text: str, sha256: str) -> Path | None:
    """Back the file up and replace it at once; returns the backup. Raises ConfigInvalid if it changed meanwhile."""
    from engine.config.save import write_config
    from engine.config.toml_file import read_toml

    if read_toml(path.expanduser().resolve()).sha256 != sha256:
        raise ConfigInvalid(f"{path}: was changed by someone else meanwhile", hint="edit it again")
    return write_config(path, text)


def masked(line: str) -> str:
    """A line of a difference without the value of what is secret."""
    from engine.config.masking import mask_value

    found = _SETTING.match(line)
    if found is None:
        return line
    key, value = found[2].strip('"'), found[4]
    hidden = mask_value(key, value)
    return line if hidden == value else f"{found[1]}{found[2]}{found[3]}{hidden}"


def without_header(diff: Sequence[str]) -> list[str]:
    """The lines that a dialog has room for: no file names, the places short."""
    return [re.sub(r"^@@ -(\d+).*@@$", r"line \1", line) for line in diff[2:]]


def _text_of(copy: Path) -> str:
    try:
        return copy.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"what was edited cannot be read: {error}") from error
