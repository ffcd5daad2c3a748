"""Completion in real shells, and the same verbs against an engine that is elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

import pytest

from basilica_tui.cli import with_names
from basilica_tui.cli_complete import complete_engines, complete_nodes, complete_shown
from tests.console.test_attached import Engine, serving
from tests.console.world import ASSIGNED

ROOT = Path(__file__).parents[2]


async def run(*words: str, **env: str) -> tuple[int, str, str]:
    """A program's exit status, output and errors."""
    process = await asyncio.create_subprocess_exec(
        *words, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, **env}
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("basilica-tui show sess", ["sessions"]),
        ("basilica-tui --engine ra", ["rack-7"]),
        ("basilica-tui conf", ["config"]),
    ],
)
async def test_bash_completes_what_is_there(tmp_path: Path, typed: str, found: list[str]) -> None:
    """Bash itself asks: the function that typer defines, with its variables set as bash sets them."""
    folder = tmp_path / "basilica-tui"
    folder.mkdir()
    (folder / "console.toml").write_text('[engines.rack-7]\nssh = "ops@rack7"\n')
    program = Path(sys.executable).parent / "basilica-tui"
    script = f"""
eval "$({program} --show-completion bash)"
function basilica-tui {{ {program} "$@"; }}
COMP_WORDS=({typed}); COMP_CWORD={len(typed.split()) - 1}
_basilica_tui_completion basilica-tui
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    status, out, err = await run("bash", "--norc", "-c", script, XDG_CONFIG_HOME=str(tmp_path), SHELL="/bin/bash",
                                 PATH=f"{program.parent}:{os.environ['PATH']}")  # fmt: skip
    assert (status, out.split()) == (0, found), err


@pytest.mark.parametrize("shell", ["zsh", "fish"])
async def test_other_shells_get_a_script_of_their_own(shell: str) -> None:
    """It asks the program in that shell's dialect."""
    program = Path(sys.executable).parent / "basilica-tui"
    status, out, _ = await run(str(program), _BASILICA_TUI_COMPLETE=f"source_{shell}")
    assert status == 0
    assert f"complete_{shell}" in out


async def test_nodes_come_from_the_engine_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their names; nothing where none or several run, or where it does not answer."""
    place = tmp_path / "run" / "engine.sock"
    monkeypatch.setattr("engine.control.paths.find_listening", lambda: [place])
    async with serving(Engine(place)):
        names = await asyncio.to_thread(complete_nodes, "node-0")
    assert names == [f"node-0{n}" for n in range(1, 7)]
    assert await asyncio.to_thread(complete_nodes, "") == []
    monkeypatch.setattr("engine.control.paths.find_listening", lambda: [place, place])
    assert complete_nodes("") == []


def test_a_broken_file_completes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback on the command line that is being typed."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert complete_engines("") == []
    (tmp_path / "basilica-tui").mkdir()
    (tmp_path / "basilica-tui" / "console.toml").write_text("[engines\n")
    assert complete_engines("") == []
    assert complete_shown("ss") == ["ssh-check"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("@home show nodes", "--engine home show nodes"),
        ("show nodes @home --json", "--engine home show nodes --json"),
        ("show --ssh ops@rack nodes", "--ssh ops@rack show nodes"),
        ("show nodes --ssh=ops@rack", "--ssh=ops@rack show nodes"),
        ("keys audit @home", "--engine home keys audit"),
        ("show nodes --ssh", "--ssh show nodes"),
        ("show -- @home", "show -- @home"),
        ("node-id @home", "node-id @home"),
        ("", ""),
    ],
)
def test_where_the_engine_is_may_be_said_after_the_verb(typed: str, meant: str) -> None:
    """Only for verbs that work on engines wherever they are."""
    assert with_names(typed.split()) == meant.split()


async def test_a_named_engine_is_shown_by_its_name(tmp_path: Path) -> None:
    """The same text as by its socket; a name that is not there and a verb that works here only are sentences."""
    socket = tmp_path / "run" / "engine.sock"
    (tmp_path / "basilica-tui").mkdir()
    (tmp_path / "basilica-tui" / "console.toml").write_text(f'[engines.home]\nsocket = "{socket}"\nread_only = true\n')
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    here = (sys.executable, "-m", "basilica_tui")
    async with serving(Engine(socket)):
        status, out, err = await run(*here, "show", "nodes", "@home", "--json", **env)
        assert status == 0, err
        assert len(json.loads(out)) == 6
        status, _, err = await run(*here, "show", "nodes", "@hme", **env)
        assert (status, "there is @home" in err) == (1, True)
        status, _, err = await run(*here, "@home", "keys", "generate", **env)
        assert (status, "works on this host" in err) == (2, True)
        status, _, err = await run(*here, "@home", "config", "show", **env)
        assert (status, "works on this host" in err) == (2, True)


async def test_any_action_can_be_asked_for_by_its_name(tmp_path: Path) -> None:
    """Danger asks first; a verb or an argument that means nothing is a sentence with what there is."""
    socket = tmp_path / "run" / "engine.sock"
    engine = Engine(socket)
    here = (sys.executable, "-m", "basilica_tui", "act")
    async with serving(engine):
        status, _, err = await run(*here, "session.close", "x", "--socket", str(socket))
        assert (status, "it knows: session.end" in err) == (2, True)
        status, _, err = await run(*here, "session.end", "nobody", "--socket", str(socket))
        assert (status, "no validator with access called nobody" in err) == (2, True)
        status, _, err = await run(*here, "session.end", ASSIGNED, "--socket", str(socket))
        assert (status, engine.ended) == (1, [])
        status, out, err = await run(*here, "session.end", ASSIGNED, "--yes", "--socket", str(socket))
        assert (status, out.strip(), engine.ended) == (0, "access is over", [ASSIGNED]), err


async def test_without_an_engine_it_says_how_to_get_one(tmp_path: Path) -> None:
    """The setup, the daemon, or a demo to look around; sockets that were left behind are no engines."""
    for name in ("one", "two"):
        left = tmp_path / "run" / "basilica" / name
        left.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(str(left / "engine.sock"))
    code = """
import os, pathlib
from engine.control import paths
from basilica_tui.cli import main
os.geteuid = lambda: 1000
paths.SERVICES = pathlib.Path("/nonexistent")
main()
"""
    status, _, told = await run(
        sys.executable, "-c", code, HOME=str(tmp_path), XDG_RUNTIME_DIR=str(tmp_path / "run"), TERM="xterm"
    )
    assert status == 2
    assert "no engine is running here" in told
    for words in ("basilica-tui setup", "basilica-tui --daemon --config miner.toml", "basilica-tui demo"):
        assert words in told
