"""The engine's own SSH key: loaded with clear refusals, made in memory, never shown."""

from __future__ import annotations

import errno
import os
import subprocess
from pathlib import Path

import asyncssh
import pytest

from engine.errors import ClientKeyUnusable
from engine.ssh.keys import ClientKey
from engine.ssh.target import NodeTarget


def test_a_generated_key_survives_saving_and_loading(tmp_path: Path) -> None:
    """Fingerprint, blob and public line are the same, the file is private, and a second save does not replace it."""
    path = tmp_path / "keys" / "id"
    key = ClientKey.load_or_create(path, "engine@host")
    again = ClientKey.load_or_create(path, "ignored")
    assert (again.fingerprint, again.public_line) == (key.fingerprint, key.public_line)
    assert key.public_line == f"ssh-ed25519 {key.blob_base64} engine@host"
    assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "keys" / "id.pub").read_text() == key.public_line + "\n"
    with pytest.raises(ClientKeyUnusable, match="cannot write"):
        key.save(path)


@pytest.mark.parametrize("arguments", [["-t", "ed25519"], ["-t", "rsa", "-b", "2048"], ["-t", "ecdsa"]])
def test_keys_made_by_ssh_keygen_load(tmp_path: Path, arguments: list[str]) -> None:
    """Every type that ssh-keygen makes today can be used, with the fingerprint that ssh-keygen prints."""
    path = tmp_path / "id"
    try:
        subprocess.run(["ssh-keygen", "-q", "-N", "", "-C", "ops", "-f", path, *arguments], check=True)
        shown = subprocess.run(["ssh-keygen", "-lf", path], check=True, capture_output=True, text=True).stdout
    except FileNotFoundError:
        pytest.skip("ssh-keygen is not installed")
    assert ClientKey.from_file(path).fingerprint in shown
    assert ClientKey.from_file(path).public_line == path.with_suffix(".pub").read_text().strip()


def test_what_is_no_usable_key_is_refused_with_a_hint(tmp_path: Path) -> None:
    """Missing, open to others, encrypted, public or damaged: each names the file and what to do."""
    good = ClientKey.generate()
    private = asyncssh.generate_private_key("ssh-ed25519")
    files = {
        "open": (good.private.export_private_key("openssh"), 0o644, "open to other users"),
        "encrypted": (private.export_private_key("pkcs8-pem", passphrase="word"), 0o600, "passphrase"),
        "public": (private.export_public_key("openssh"), 0o600, "not a private SSH key"),
        "damaged": (b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", 0o600, "not a private SSH key"),
        "empty": (b"", 0o600, "is empty"),
    }
    for name, (content, mode, words) in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        path.chmod(mode)
        with pytest.raises(ClientKeyUnusable, match=words) as caught:
            ClientKey.from_file(path)
        assert name in caught.value.message + caught.value.hint and caught.value.hint
    with pytest.raises(ClientKeyUnusable, match="cannot read"):
        ClientKey.from_file(tmp_path / "missing")


def test_a_key_never_shows_its_private_half() -> None:
    """Text forms name the fingerprint only."""
    key = ClientKey.generate("comment")
    assert "PRIVATE" not in repr(key) and key.fingerprint in repr(key)


@pytest.mark.parametrize(("host", "address"), [("10.0.0.1", "10.0.0.1:22"), ("::1", "[::1]:22"), ("gpu", "gpu:22")])
def test_addresses_are_written_so_that_ports_can_be_told(host: str, address: str) -> None:
    """An IPv6 address stands in brackets."""
    target = NodeTarget("n", host, 22, "basilica")
    assert (target.address, target.label) == (address, f"basilica@{address}")


def test_a_key_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever dies before the key is on disk leaves nothing under its name; no draft stays and the next try works."""
    path = tmp_path / "id"

    def dies(descriptor: int) -> None:
        assert not path.exists()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", dies)
        with pytest.raises(KeyboardInterrupt):
            ClientKey.generate().save(path)
    assert list(tmp_path.iterdir()) == []
    key = ClientKey.load_or_create(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["id", "id.pub"]
    (tmp_path / "id.pub").unlink()  # killed between the two
    assert ClientKey.load_or_create(path).fingerprint == key.fingerprint
    assert (tmp_path / "id.pub").read_text() == key.public_line + "\n"


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the draft is renamed, and an existing key still stays."""

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    key = ClientKey.load_or_create(tmp_path / "id")
    with pytest.raises(ClientKeyUnusable, match="cannot write"):
        ClientKey.generate().save(tmp_path / "id")
    assert ClientKey.from_file(tmp_path / "id").fingerprint == key.fingerprint
    assert sorted(one.name for one in tmp_path.iterdir()) == ["id", "id.pub"]


def test_an_empty_key_file_says_what_to_do(tmp_path: Path) -> None:
    """What a killed older version left is named as empty, not as a public key."""
    (tmp_path / "id").touch(0o600)
    with pytest.raises(ClientKeyUnusable, match="is empty") as caught:
        ClientKey.from_file(tmp_path / "id")
    assert f"basilica-tui keys generate --path {tmp_path / 'id'}" in caught.value.hint
