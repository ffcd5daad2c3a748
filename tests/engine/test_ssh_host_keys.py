"""Pinned host keys: trust on first use, stop on change, accept by a person only."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from pathlib import Path

import asyncssh
import pytest

from engine.errors import HostKeysUnusable, SshAuthFailed, SshHostKeyChanged
from engine.events import HostKeyAccepted, HostKeyChanged, HostKeyPinned
from engine.ssh.host_keys import HostKeys, PresentedKey, Verdict, host_name
from engine.ssh.target import NodeTarget
from tests.support.pools import Pools
from tests.support.sshd import NodeSshd

NODE = NodeTarget("n1", "Gpu.Example", 2222, "basilica")


def new_key(kind: str = "ssh-ed25519") -> PresentedKey:
    """A host key of that type."""
    key = asyncssh.generate_private_key(kind)
    return PresentedKey(key.get_algorithm(), key.public_data)


def entry(key: PresentedKey, name: str) -> str:
    """A known_hosts line."""
    return f"{name} {key.algorithm} {base64.b64encode(key.blob).decode()}"


@pytest.mark.sshd
async def test_the_first_key_is_pinned_in_a_private_openssh_file(
    sshd_node: NodeSshd, pools: Pools, tmp_path: Path
) -> None:
    """The pin is there after the first login, for us and for ssh, and an event says so once."""
    pools.known_to(sshd_node)
    path = tmp_path / "sub" / "known_hosts"
    host_keys = HostKeys(path)
    pool = pools.make(host_keys=host_keys)
    await pool.connect(sshd_node.target)
    await pool.drop(sshd_node.target)
    await pool.connect(sshd_node.target)
    assert path.read_text().startswith(f"[127.0.0.1]:{sshd_node.port} ssh-ed25519 ")
    assert path.stat().st_mode & 0o777 == 0o600
    assert HostKeys(path).pinned(sshd_node.target) == sshd_node.host_key_fingerprint
    assert [type(one) for one in pools.events] == [HostKeyPinned]


@pytest.mark.sshd
async def test_a_changed_key_stops_everything_until_a_person_accepts_it(
    sshd_node: NodeSshd, pools: Pools, tmp_path: Path
) -> None:
    """No login happens under a new key; both fingerprints are named; accepting that very key opens the node."""
    pools.known_to(sshd_node)
    pool = pools.make(host_keys=HostKeys(tmp_path / "known_hosts"))
    old = (await pool.connect(sshd_node.target)).host_key_fingerprint
    sshd_node.restart(new_host_key=True)
    for _ in range(3):
        with pytest.raises(SshHostKeyChanged) as caught:
            await pool.run(sshd_node.target, "true")
    assert (caught.value.pinned, caught.value.presented) == (old, sshd_node.host_key_fingerprint)
    assert "publickey" not in sshd_node.log()
    with pytest.raises(SshHostKeyChanged):
        await pool.accept_host_key(sshd_node.target, "tester", "SHA256:something-else")
    await pool.accept_host_key(sshd_node.target, "tester", sshd_node.host_key_fingerprint)
    assert (await pool.connect(sshd_node.target)).host_key_fingerprint == sshd_node.host_key_fingerprint
    assert [type(one) for one in pools.events] == [HostKeyPinned, HostKeyChanged, HostKeyAccepted]
    with pytest.raises(SshHostKeyChanged):
        await pool.accept_host_key(sshd_node.target, "tester")


@pytest.mark.sshd
async def test_a_key_is_pinned_although_the_login_then_fails(sshd_node: NodeSshd, pools: Pools) -> None:
    """The node proved its key before it refused ours, so the next attempt is already guarded."""
    pool = pools.make()
    with pytest.raises(SshAuthFailed):
        await pool.connect(sshd_node.target)
    assert pool.host_keys.pinned(sshd_node.target) == sshd_node.host_key_fingerprint
    assert [type(one) for one in pools.events] == [HostKeyPinned]


@pytest.mark.sshd
async def test_a_pin_that_cannot_be_saved_is_a_failure_not_a_silent_trust(
    sshd_node: NodeSshd, pools: Pools, tmp_path: Path
) -> None:
    """Without a saved pin nothing is sent to the node."""
    pools.known_to(sshd_node)
    (tmp_path / "file").write_text("")
    pool = pools.make(host_keys=HostKeys(tmp_path / "file" / "known_hosts"))
    with pytest.raises(HostKeysUnusable):
        await pool.run(sshd_node.target, "true")


async def test_foreign_lines_survive_and_only_our_host_is_replaced(tmp_path: Path) -> None:
    """Comments, other hosts, hashed names and markers are kept when a key is pinned."""
    path = tmp_path / "known_hosts"
    other, first, second = new_key(), new_key(), new_key()
    kept = [
        "# mine",
        entry(other, "elsewhere"),
        "@cert-authority *.example " + entry(other, "x").split(" ", 1)[1],
        "odd",
    ]
    path.write_text("\n".join([*kept, entry(first, host_name(NODE))]) + "\n")
    host_keys = HostKeys(path)
    assert host_keys.judge(NODE, first) is Verdict.KNOWN
    assert host_keys.judge(NODE, second) is Verdict.CHANGED
    await host_keys.accept(NODE, second.fingerprint)
    assert path.read_text().splitlines() == [*kept, entry(second, host_name(NODE))]
    assert host_keys.judge(NODE, second) is Verdict.KNOWN and host_keys.presented(NODE) is None
    assert [one.name for one in tmp_path.iterdir()] == ["known_hosts"]


async def test_hashed_names_match_and_revoked_keys_never_pass(tmp_path: Path) -> None:
    """A file that ssh wrote with HashKnownHosts works; @revoked beats a pin and first use."""
    key, salt = new_key(), os.urandom(20)
    digest = hmac.new(salt, host_name(NODE).encode(), hashlib.sha1).digest()
    hashed = f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"
    path = tmp_path / "known_hosts"
    path.write_text(entry(key, hashed) + "\n")
    assert HostKeys(path).judge(NODE, key) is Verdict.KNOWN
    assert HostKeys(path).judge(NodeTarget("n2", "other", 22, "x"), key) is Verdict.NEW
    path.write_text("@revoked " + entry(key, host_name(NODE)) + "\n")
    assert HostKeys(path).judge(NODE, key) is Verdict.CHANGED


async def test_an_edit_from_outside_is_seen(tmp_path: Path) -> None:
    """Removing a line with ssh-keygen -R makes the node new again without a restart."""
    path = tmp_path / "known_hosts"
    host_keys = HostKeys(path)
    await host_keys.pin(NODE, new_key())
    assert host_keys.pinned(NODE)
    path.write_text("")
    assert host_keys.pinned(NODE) is None


async def test_the_type_that_is_pinned_is_asked_for_first() -> None:
    """A node with several host keys is asked for the one that we know."""
    host_keys = HostKeys(None)
    await host_keys.pin(NODE, new_key("ecdsa-sha2-nistp256"))
    assert host_keys.pinned_algorithm(NODE) == "ecdsa-sha2-nistp256"


@pytest.mark.parametrize(
    ("host", "port", "name"), [("Node", 22, "node"), ("10.0.0.1", 2222, "[10.0.0.1]:2222"), ("::1", 23, "[::1]:23")]
)
def test_names_are_those_of_openssh(host: str, port: int, name: str) -> None:
    """The file can be shared with ssh."""
    assert host_name(NodeTarget("n", host, port, "u")) == name
