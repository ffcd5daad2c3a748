"""What a node's sshd understands, what its clock says, and the proof by logging in."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest

from engine.clock import ManualClock
from engine.errors import SshChannelFailed
from engine.ssh.canary import Verdict, prove_expiry
from engine.ssh.capability import ExpiryForm, NodeCapability, deadlines, expiry_form_of, probe_capability
from tests.support.pools import Pools
from tests.support.sshd import NodeSshd


@pytest.mark.parametrize(
    ("banner", "form"),
    [
        ("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10", "utc"),
        ("SSH-2.0-OpenSSH_9.1", "utc"),
        ("SSH-2.0-OpenSSH_10.5p1", "utc"),
        ("SSH-2.0-OpenSSH_9.0p1", "local"),
        ("SSH-2.0-OpenSSH_8.9p1 Ubuntu-3ubuntu0.13", "local"),
        ("SSH-2.0-OpenSSH_7.7", "local"),
        ("SSH-2.0-OpenSSH_7.6p1", "none"),
        ("SSH-2.0-OpenSSH_for_Windows_8.1", "none"),
        ("SSH-2.0-dropbear_2022.83", "none"),
        ("SSH-2.0-AsyncSSH_2.24.1", "none"),
        ("", "none"),
    ],
)
def test_the_expiry_form_follows_the_banner(banner: str, form: ExpiryForm) -> None:
    """The Z suffix only from 9.1 on, the option at all only from 7.7 on, nothing for unknown servers."""
    assert expiry_form_of(banner) == form


@pytest.mark.parametrize(
    ("lines", "is_default"),
    [
        ((), True),
        ((".ssh/authorized_keys .ssh/authorized_keys2",), True),
        (("%h/.ssh/authorized_keys",), True),
        (("/etc/ssh/keys/%u",), False),
        (("/etc/ssh/keys/%u .ssh/authorized_keys", "none"), True),
    ],
)
def test_another_configured_key_file_is_noticed(lines: tuple[str, ...], is_default: bool) -> None:
    """sshd takes the first line that sets the option."""
    assert NodeCapability("", "utc", 0.0, configured_key_files=lines).has_default_key_file is is_default


@pytest.mark.sshd
async def test_a_node_tells_version_tools_and_clock(sshd_node: NodeSshd, pools: Pools) -> None:
    """One visit gives everything; the skew is node time minus the injected clock's."""
    pools.known_to(sshd_node)
    known = await probe_capability(pools.make(), sshd_node.target)
    assert known.server_version.startswith("SSH-2.0-OpenSSH_") and known.expiry_form != "none"
    assert {"sha256sum", "nvidia-smi"} <= known.tools and abs(known.clock_skew_s) < 60
    slow = ManualClock(now=time.time() - 3600)
    assert 3500 < (await probe_capability(pools.make(clock=slow), sshd_node.target)).clock_skew_s < 3700


@pytest.mark.sshd
async def test_a_node_without_a_clock_is_refused_clearly(sshd_node: NodeSshd, pools: Pools) -> None:
    """Nonsense instead of a time never becomes an expiry."""
    pools.known_to(sshd_node)
    (sshd_node.tools / "date").write_text("#!/bin/sh\necho tomorrow\n")
    (sshd_node.tools / "date").chmod(0o755)
    pool = pools.make()
    with pytest.raises(SshChannelFailed, match="cannot tell its time"):
        await probe_capability(pool, sshd_node.target)
    for form in ("utc", "local"):
        capability = NodeCapability("", form, 0.0)
        with pytest.raises(SshChannelFailed):
            await deadlines(pool, sshd_node.target, capability, [2_000_000_000])


@pytest.mark.sshd
async def test_deadlines_are_counted_in_the_nodes_time(sshd_node: NodeSshd, pools: Pools) -> None:
    """An engine that is an hour behind still gives a grant its own length on the node's clock, in either form."""
    pools.known_to(sshd_node)
    clock = ManualClock(now=float(int(time.time()) - 3600))
    pool = pools.make(clock=clock)
    known = await probe_capability(pool, sshd_node.target)
    ends = [int(clock.now()) + 60, int(clock.now()) + 7200]
    for form in ("utc", "local"):
        capability = replace(known, expiry_form=form)
        found = await deadlines(pool, sshd_node.target, capability, ends)
        assert list(found) == ends
        texts = {end: deadline.expiry_text for end, deadline in found.items()}
        assert abs(found[ends[0]].unix - (ends[0] + 3600)) < 30
        times = [datetime.strptime(texts[end].rstrip("Z") + "+0000", "%Y%m%d%H%M%S%z") for end in ends]
        assert (times[1] - times[0]).total_seconds() == 7140
        assert texts[ends[0]].endswith("Z") is (form == "utc")
        if form == "utc":
            assert abs(times[0].timestamp() - (ends[0] + 3600)) < 30
    without = await deadlines(pool, sshd_node.target, replace(known, expiry_form="none"), ends)
    assert [deadline.expiry_text for deadline in without.values()] == ["", ""]


@pytest.mark.sshd
async def test_the_canary_proves_that_expiry_works_and_leaves_no_trace(sshd_node: NodeSshd, pools: Pools) -> None:
    """A future key opens, a past one does not, the node sees one failed login, and the file is as before."""
    old = pools.known_to(sshd_node, after=b"# no line feed")
    pool = pools.make()
    known = await probe_capability(pool, sshd_node.target)
    for form in ("utc", "local"):
        capability = replace(known, expiry_form=form)
        assert await prove_expiry(pool, sshd_node.target, capability) is Verdict.PROVED
    assert await prove_expiry(pool, sshd_node.target, replace(known, expiry_form="none")) is Verdict.OPENS
    assert sshd_node.keys() == old


@pytest.mark.sshd
async def test_the_canary_fails_where_the_key_file_is_not_the_one_sshd_reads(
    sshd_nodes: Callable[..., NodeSshd], pools: Pools
) -> None:
    """A node whose sshd looks elsewhere is found out before a validator is told that it has access."""
    node = sshd_nodes(options=("AuthorizedKeysFile elsewhere",))
    if not node.is_private:
        pytest.skip("the key file's place is set by the test set-up without root")
    (node.home / "elsewhere").write_text(pools.key.public_line + "\n")
    node.own(node.home / "elsewhere")
    pool = pools.make()
    assert await prove_expiry(pool, node.target, await probe_capability(pool, node.target)) is Verdict.NOT_READ
