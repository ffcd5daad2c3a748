"""Where sockets are made and found."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from engine.control import paths
from engine.control.paths import default_socket, find_listening, find_sockets, is_listening, socket_to_call


@pytest.fixture(autouse=True)
def _somebody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user of uid 1000 with a home and a runtime directory, outside any service."""
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


@pytest.mark.parametrize(
    ("name", "directory"),
    [("", "default"), ("miner", "miner"), ("../../etc", "etc"), ("gpu house/1", "gpu-house-1"), ("..", "default")],
)
def test_the_name_is_a_directory_below_the_base(tmp_path: Path, name: str, directory: str) -> None:
    """Whatever an engine is called, its socket stays below the runtime directory."""
    assert default_socket(name) == tmp_path / "run/basilica" / directory / "engine.sock"


def test_without_a_runtime_directory_the_home_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A session without XDG_RUNTIME_DIR, as under cron, has a place as well."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert default_socket("m") == tmp_path / "home/.local/state/basilica/run/m/engine.sock"


def test_root_has_the_systems_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that runs as root uses the directory that systemd makes."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_socket("m") == Path("/run/basilica/m/engine.sock")


def test_all_sockets_are_found_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets in every place are listed; other files are not; places that are missing do no harm."""
    monkeypatch.setattr(paths, "SERVICES", tmp_path / "services")
    assert find_sockets() == []
    found = []
    for age, place in enumerate(("run/basilica/a", "home/.local/state/basilica/run/b", "run/basilica/c")):
        path = tmp_path / place / "engine.sock"
        path.parent.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as listener:
            monkeypatch.chdir(path.parent)  # a socket's path may not be long; a relative one is short
            listener.bind(path.name)
        os.utime(path, (1_000 - age, 1_000 - age))
        found.append(path)
    (tmp_path / "run/basilica/d").mkdir()
    (tmp_path / "run/basilica/d/engine.sock").write_text("no socket")
    assert find_sockets() == found


def test_a_service_manager_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a unit with RuntimeDirectory= the socket is made there, whatever the user is called."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/basilica/miner:/run/other")
    assert default_socket("m") == Path("/run/basilica/miner/engine.sock")


def test_a_console_calls_the_socket_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that runs as a system service is found by its name, without a word on where; else the default."""
    monkeypatch.setattr(paths, "SERVICES", tmp_path / "services")
    assert socket_to_call("m") == default_socket("m")
    path = tmp_path / "services/m/engine.sock"
    path.parent.mkdir(parents=True)
    monkeypatch.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)
    assert socket_to_call("m") == path


def test_a_socket_that_was_left_behind_is_told_from_one_that_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed engine's is found and not listened to; one whose queue is full still counts as listening."""
    monkeypatch.setattr(paths, "SERVICES", tmp_path / "services")
    (tmp_path / "run/basilica").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run/basilica")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "..")
    for name in ("dead", "live"):
        Path(name).mkdir()
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind("dead/engine.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("live/engine.sock")
        listener.listen(0)
        assert [path.parent.name for path in find_listening()] == ["live"]
        assert is_listening(Path("live/engine.sock"))  # nobody took the call before; the queue holds one
    assert find_listening() == []
    assert len(find_sockets()) == 2


def test_a_dead_socket_gives_way_to_one_that_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed engine leaves its socket in the first place; the engine that runs has its own in another."""
    path_of = [tmp_path / place / "m" / "engine.sock" for place in ("run/basilica", "home/.local/state/basilica/run")]
    with socket.socket(socket.AF_UNIX) as dead, socket.socket(socket.AF_UNIX) as alive:
        for listener, path in zip((dead, alive), path_of, strict=True):
            path.parent.mkdir(parents=True)
            monkeypatch.chdir(path.parent)
            listener.bind(path.name)
        assert paths.socket_to_call("m") == path_of[0]
        alive.listen()
        assert paths.socket_to_call("m") == path_of[1]
