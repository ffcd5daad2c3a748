"""A setup that was interrupted goes on: its answers and finished phases in a small file, without secrets."""

from __future__ import annotations

import json
import os
from pathlib import Path

from engine.errors import ConfigInvalid
from engine.setup.answers import answers_of, answers_to_json
from engine.setup.phases import Phase, Setup, resume

NAME = "setup.json"
_LARGEST = 256 * 1024


def default_state_file(home: Path) -> Path:
    """``~/.local/state/basilica/setup.json``, or where XDG says."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else home / ".local/state") / "basilica" / NAME


def save_state(path: Path, setup: Setup) -> None:
    """Write it whole, mode 600. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    document = {"format": 1, "done": sorted(setup.done), "answers": answers_to_json(setup.answers)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_state(path: Path) -> Setup | None:
    """Where it was left, at its first unfinished phase; None without a file that can be used."""
    try:
        if path.stat().st_size > _LARGEST:
            return None
        document = json.loads(path.read_text("utf-8"))
        answers = answers_of(document["answers"])
        done = frozenset(Phase(name) for name in document["done"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigInvalid):
        return None
    return resume(Setup(answers, done=done))
