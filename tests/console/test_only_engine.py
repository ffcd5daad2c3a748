"""Verbs without ``--socket`` and ``--config``: the only engine that runs here is the one that is meant."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from typer.testing import CliRunner

from basilica_tui.cli import app
from engine.control import paths
from tests.console.test_attached import Engine, serving


async def run(*words: str) -> tuple[int, str, str]:
    """Exit status, output, errors."""
    done = await asyncio.to_thread(CliRunner().invoke, app, list(words))
    return done.exit_code, done.stdout, done.stderr


async def test_the_only_engine_is_found_without_asking(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that runs is found, also beside what a killed one left; with a second the words name both, with none how to
    start one."""
    home = tmp_path_factory.mktemp("h")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(paths, "SERVICES", home / "none")
    places = home / ".local/state/basilica/run"
    status, _, err = await run("show", "services")
    assert (status, "no engine is running here" in err, "--daemon --config" in err) == (2, True, True)
    left = places / "k" / "engine.sock"
    left.parent.mkdir(parents=True, mode=0o700)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(left))  # and never listened to again
    async with serving(Engine(places / "m" / "engine.sock")):
        status, out, err = await run("show", "nodes", "--json")
        assert (status, err) == (0, "") and json.loads(out)
        status, _, err = await run()  # attaches, as far as it can without a terminal
        assert (status, "needs a terminal" in err) == (2, True)
        async with serving(Engine(places / "v" / "engine.sock")):
            status, _, err = await run("show", "nodes")
            assert (status, "several engines are running here" in err) == (2, True)
            assert f"--socket {places}/m/engine.sock" in err and f"--socket {places}/v/engine.sock" in err
            assert str(left) not in err
