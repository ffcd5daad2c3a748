"""Each half runs without the other: proved in a fresh interpreter, not by reading imports."""

from __future__ import annotations

import subprocess
import sys

import pytest


def loaded_by(statement: str, names: set[str]) -> set[str]:
    code = f"import sys\n{statement}\nprint(' '.join(sorted({names!r} & set(sys.modules))))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(found.stdout.split())


def test_the_engine_never_imports_textual() -> None:
    """The composition root with every room below it loads no part of the console."""
    assert loaded_by("import engine.app", {"textual", "basilica_tui"}) == set()


@pytest.mark.parametrize("module", ["basilica_tui.app", "basilica_tui.run", "basilica_tui.show"])
def test_the_console_loads_no_engine_room(module: str) -> None:
    """A console needs the control client only: no wire, chain, store or SSH."""
    heavy = {"grpc", "sqlalchemy", "bittensor", "asyncssh", "fastapi", "engine.app", "engine.miner", "engine.store"}

    assert loaded_by(f"import {module}", heavy) == set()


def test_who_asks_about_a_configuration_loads_no_engine() -> None:
    """Commands that look for an engine's socket or judge its file start without the rooms that the file configures."""
    heavy = {"grpc", "sqlalchemy", "bittensor", "asyncssh", "engine.app", "engine.miner", "engine.store"}
    assert loaded_by("import engine.configured", heavy) == set()


def test_a_miner_loads_no_fastapi() -> None:
    """Health and metrics of a miner are served without the REST framework that only a validator needs."""
    assert loaded_by("import engine.app", {"fastapi"}) == set()
