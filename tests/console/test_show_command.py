"""``basilica-tui show`` as a program: over the socket of a control server that is fed by real events."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.console.test_attached import Engine, serving
from tests.console.world import node_id

ROOT = Path(__file__).parents[2]


async def show(socket: Path, *words: str) -> tuple[int, str, str]:
    """Exit status, output, errors."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "basilica_tui", "show", *words, "--socket", str(socket),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_screens_are_text_too(tmp_path: Path) -> None:
    """Logs, one node by several names, and what cannot be shown: each as a screen would say it, in one process each."""
    socket = tmp_path / "run" / "engine.sock"
    async with serving(Engine(socket)):
        status, out, _ = await show(socket, "logs", "--json")
        assert status == 0
        assert [json.loads(line)["event"] for line in out.splitlines()] == ["door.authenticated"]
        status, out, _ = await show(socket, "node", node_id(1), "--json")
        assert (status, json.loads(out)["id"]) == (0, node_id(1))
        found = json.loads(out)
        status, out, _ = await show(socket, "node", f"{found['username']}@{found['host']}:{found['port']}")
        assert (status, found["host"] in out) == (0, True)
        status, _, err = await show(socket, "node", "nowhere")
        assert (status, "no nodes are called 'nowhere'" in err, found["host"] in err) == (2, True, True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("everything",), "'everything' cannot be shown"),
        (("node",), "'node' wants one node"),
        (("nodes", "node-1"), "'node' wants one node"),
        (("nodes",), "none.sock"),
    ],
)
async def test_mistakes_are_sentences(tmp_path: Path, words: tuple[str, ...], sentence: str) -> None:
    """A wrong word, a node too many or too few, no engine: said in one line, without a traceback, and not with 0."""
    status, out, err = await show(tmp_path / "none.sock", *words)
    assert status in {1, 2}
    assert out == ""
    assert sentence in err and "Traceback" not in err


def test_the_configuration_before_the_verb_names_the_engine(tmp_path: Path) -> None:
    """``--config FILE show`` asks at the socket that this file names, not at whatever runs here."""
    config = tmp_path / "miner.toml"
    socket = tmp_path / "elsewhere.sock"
    config.write_text(f'[engine]\nsocket = "{socket}"\n[node_management]\n[ssh_session]\n')
    done = subprocess.run(
        [sys.executable, "-m", "basilica_tui", "--config", str(config), "show", "services"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "no engine is running here" not in done.stderr
    assert str(tmp_path) in done.stderr
