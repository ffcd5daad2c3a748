"""Reading a TOML file whole, with errors that name the file and the line."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import ConfigInvalid


@dataclass(frozen=True, slots=True)
class TomlText:
    """The content of a file at one moment; ``sha256`` tells later whether it is still that."""

    text: str
    data: dict[str, Any]
    sha256: str


def read_toml(path: Path) -> TomlText:
    """Read and parse; raises ConfigInvalid when the file is missing, unreadable or not TOML."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise _invalid(f"{path}: there is no such file; check --config, or make one with: basilica-tui setup") from None
    except IsADirectoryError:
        raise _invalid(f"{path}: this is a directory; --config needs the file itself") from None
    except OSError as error:
        raise _invalid(f"{path}: cannot be read ({error.strerror}); check its owner and mode") from error
    return parse_toml(path, raw)


def parse_toml(path: Path, raw: bytes) -> TomlText:
    """Parse the bytes of ``path``; raises ConfigInvalid with the line of the first mistake."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _invalid(f"{path}: is not UTF-8 text (line {line}); save it as UTF-8") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at_end = f"at line {text.count(chr(10)) + 1}, the end of the document"
        words = str(error).replace("at end of document", at_end)
        raise _invalid(f"{path}: is not valid TOML: {words}; correct that line") from None
    except RecursionError:
        raise _invalid(f"{path}: is not valid TOML: nested too deeply") from None
    return TomlText(text, data, hashlib.sha256(raw).hexdigest())


def _invalid(sentence: str) -> ConfigInvalid:
    return ConfigInvalid(sentence, problems=(sentence,))
