"""The configuration in the operator's editor: on a copy, judged, shown, asked about, and only then in place."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from basilica_tui.config_edit import copy_to_edit, editor_of, judge_copy, masked, put_in_place, without_header
from engine.clock import SystemClock
from engine.config import load_miner_config
from engine.control.actions import ActionTable
from engine.control.ring import LogRing
from engine.control.server import ControlServer
from engine.control.state import LiveState
from engine.errors import ConfigInvalid
from engine.lifecycle.config_actions import ConfigActions
from tests.console.conftest import MakeApp
from tests.console.screen import settle, text_of
from tests.console.test_attached import Engine, serving
from tests.console.world import TestEngine, miner_events
from tests.support.tmux import PROMPT, Pane, tmux_shell

FILE = """# the house of GPUs
[bittensor]
wallet_name = "house"
network = "test"
netuid = 387
[alerts]
urls = ["https://user:secret@hook.example/x"]
"""


def a_file(folder: Path) -> tuple[Path, str]:
    """A configuration that the engine would take, with its text."""
    key = folder / "key"
    key.write_text("its content is not looked at here")
    key.chmod(0o600)
    text = f'{FILE}[ssh_session]\nminer_node_key_path = "{key}"\n'
    path = folder / "miner.toml"
    path.write_text(text)
    return path, text


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({}, []),
        ({"EDITOR": "vim -n"}, ["vim", "-n"]),
        ({"EDITOR": "vi", "VISUAL": "code --wait"}, ["code", "--wait"]),
        ({"EDITOR": "'"}, []),
    ],
)
def test_the_editor_is_the_operators(env: dict[str, str], words: list[str]) -> None:
    """VISUAL before EDITOR, with its options; nothing where none is named."""
    assert editor_of(env) == words


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("+netuid = 39", "+netuid = 39"),
        ('-password = "hunter2"', "-password = ********"),
        ('+api_key = "abc"', "+api_key = ********"),
        (" # a comment = x", " # a comment = x"),
    ],
)
def test_a_difference_shows_no_secret(line: str, shown: str) -> None:
    """Neither the old value nor the new one."""
    assert masked(line) == shown


def test_a_copy_is_judged_and_put_in_place(tmp_path: Path) -> None:
    """The copy is for its owner only and goes; the file is backed up first, not replaced if it changed meanwhile."""
    path, text = a_file(tmp_path)
    with copy_to_edit(path) as (copy, sha256):
        assert copy.parent == tmp_path and copy.suffix == ".toml"
        assert copy.stat().st_mode & 0o077 == 0
        assert judge_copy(path, copy).diff == ()
        copy.write_text(text.replace("387", '"many"'))
        bad = judge_copy(path, copy)
        assert bad.problems and str(copy) not in " ".join(bad.problems)
        copy.write_text(text.replace("387", "39"))
        good = judge_copy(path, copy)
        assert "+netuid = 39" in good.diff and "-netuid = 387" in good.diff
        assert without_header(good.diff)[0].startswith("line ")
        assert "secret" not in " ".join(good.diff)
        path.write_text(text + "# somebody else\n")
        with pytest.raises(ConfigInvalid, match="changed by someone else"):
            put_in_place(path, good.text, sha256)
        path.write_text(text)
        kept = put_in_place(path, good.text, sha256)
    assert kept is not None and kept.read_text() == text
    assert path.read_text() == text.replace("387", "39")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["key", "miner.toml", kept.name])


async def run_cli(path: Path, editor: str, typed: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "basilica_tui", "config", "edit", "-c", str(path),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "EDITOR": editor, "VISUAL": ""},
    )  # fmt: skip
    out, err = await process.communicate(typed.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_command_does_the_same(tmp_path: Path) -> None:
    """A yes saves, a no and an editor that fails change nothing; without an editor it says what to do."""
    path, text = a_file(tmp_path)
    change = "sed -i s/387/39/"
    for editor, typed, status, words in (
        ("", "", 2, "EDITOR=nano"),
        ("false", "", 2, "nothing was changed"),
        (change, "n\n", 1, "netuid = 39"),
        (change, "y\n", 0, "saved"),
    ):
        code, out, err = await run_cli(path, editor, typed)
        assert (code, words in out + err) == (status, True), out + err
        assert (path.read_text() == text) is (status != 0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"is_remote": True}, "basilica-tui config edit -c"),
        ({}, "no terminal to edit in"),
        ({"read_only": True}, "read-only"),
    ],
)
async def test_where_nothing_can_be_edited_it_says_what_to_do(
    make_app: MakeApp, engine: TestEngine, tmp_path: Path, options: dict[str, bool], words: str
) -> None:
    """The file of another host, a browser, a visitor."""
    path, text = a_file(tmp_path)
    engine.verbs = frozenset({"config.show", "config.set"})
    engine.answers["config.show"] = {"path": str(path)}
    app = make_app(**options)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("8")
        await settle(pilot)
        await pilot.press("O")
        await settle(pilot)
        assert words in text_of(app)
    assert path.read_text() == text


def _engine(socket: Path, path: Path) -> Engine:
    """A control server with the real configuration actions, and what a console needs besides."""
    engine = Engine(socket)
    clock, state = SystemClock(), LiveState()
    for event in miner_events():
        state.apply(event)
    actions = ActionTable(lambda _: None, clock)

    async def load() -> object:
        return await asyncio.to_thread(lambda: load_miner_config(path, env={}, check=False))

    running = load_miner_config(path, env={}, check=False).config
    ConfigActions(lambda: running, load).register(actions)  # type: ignore[arg-type]  # of a miner, always
    engine.server = ControlServer(
        socket, state, clock=clock, logs=LogRing(), actions=actions, instance="one", build="test"
    )
    return engine


@pytest.mark.tmux
async def test_in_a_terminal_the_console_steps_aside_and_comes_back(tmp_path: Path) -> None:
    """A broken file is edited again, then the difference is shown, a yes saves and offers a reload."""
    socket, editor = tmp_path / "run" / "engine.sock", tmp_path / "editor"
    path, text = a_file(tmp_path)
    editor.write_text(
        '#!/bin/sh\necho "the editor has the terminal"; read answer\n'
        'if [ "$answer" = bad ]; then sed -i "s/= 387/= many/" "$1"; else sed -i "s/= many/= 39/" "$1"; fi\n'
    )
    editor.chmod(0o755)

    def drive(pane: Pane) -> None:
        program = f"{shlex.quote(sys.executable)} -m basilica_tui --socket {shlex.quote(str(socket))}"
        pane.type(f"cd {Path(__file__).parents[2]}; EDITOR={editor} {program}", "Enter")
        pane.wait_for("live")
        pane.type("8")
        pane.wait_for("CONFIG")
        pane.type("O")
        pane.wait_for("the editor has the terminal", gone=("CONFIG",))
        pane.type("bad", "Enter")
        pane.wait_for("The engine would refuse it", "edit again")
        assert path.read_text() == text
        pane.type("y")
        pane.wait_for("the editor has the terminal", gone=("CONFIG",))
        pane.type("good", "Enter")
        pane.wait_for("+netuid = 39", "Save miner.toml?")
        pane.type("y")
        pane.wait_for("Read the configuration file again?", "saved; the file before is")
        pane.type("", "Escape")
        pane.wait_for("CONFIG", gone=("Read the configuration",))
        pane.type("q")
        pane.wait_for("FIX FIRST")
        pane.type("q")
        pane.wait_for(PROMPT, gone=("FIX FIRST",))

    async with serving(_engine(socket, path)):
        with tmux_shell(tmp_path, width=120, height=40) as pane:
            await _beside(lambda: drive(pane))
    assert path.read_text() == text.replace("387", "39")


async def _beside(work: Callable[[], None]) -> None:
    await asyncio.to_thread(work)
