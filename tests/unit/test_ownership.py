"""What root makes among somebody's files is theirs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.ownership import make_private_directory, take_after_directory

SOMEBODY = 5001


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files among another's")
def test_root_leaves_nothing_that_only_root_can_use(tmp_path: Path) -> None:
    """Directories that were missing, and a file in them, belong to the owner of the first one that was there."""
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, SOMEBODY, SOMEBODY)
    data = home / "a" / "data"

    make_private_directory(data)
    (data / "file").write_text("x")
    take_after_directory(data / "file")

    owners = [path.stat().st_uid for path in (home / "a", data, data / "file")]
    assert owners == [SOMEBODY] * 3
    assert data.stat().st_mode & 0o777 == 0o700


def test_everybody_else_keeps_what_they_make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root nothing is given away, and a directory that is there stays as it is."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "chown", lambda *_, **__: pytest.fail("only root may"))
    tmp_path.chmod(0o755)
    make_private_directory(tmp_path)
    make_private_directory(tmp_path / "new")
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "new").is_dir()


def test_a_service_of_root_that_may_not_call_chown_keeps_what_is_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hardened unit forbids the call itself, so it is made only where something changes hands."""

    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    file = tmp_path / "known_hosts"
    file.write_text("")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", forbidden)
    take_after_directory(file)
    assert file.stat().st_uid == tmp_path.stat().st_uid
