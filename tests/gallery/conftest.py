"""Machines that boot, and who may look at this machine's processes while one of them runs the deployed miner."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.gallery.booted import ROOT
from tests.support.booted import BootedHost


@pytest.fixture(scope="module")
def host(request: pytest.FixtureRequest) -> Iterator[BootedHost]:
    """A machine that is miner's host and node in one. A module's BEFORE runs in its root directory before it boots."""
    host = BootedHost(before=getattr(request.module, "BEFORE", ""))
    host.start()
    try:
        host.shell("systemctl start ssh")
        host.shell(f"cd {ROOT} && {sys.executable} -m tests.support.booted_miner")
        yield host
    finally:
        host.stop()


@pytest.fixture
def packages(host: BootedHost) -> None:
    """Skips where Debian's packages could not be fetched."""
    if not (host.root / "packages-are-here").exists():
        pytest.skip("Debian's packages cannot be reached from here")


@contextmanager
def _processes(tmp_path_factory: pytest.TempPathFactory, operation: int) -> Iterator[None]:
    """A turn at this machine's processes: every worker's folder lies in one and the same."""
    with (tmp_path_factory.getbasetemp().parent / "basilica-processes.lock").open("w") as turn:
        fcntl.flock(turn, operation)
        yield


@pytest.fixture(scope="module")
def no_deployed_miner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nobody runs a deployed miner: a doctor sees the whole machine's processes, so also those of a booted one."""
    with _processes(tmp_path_factory, fcntl.LOCK_SH):
        yield


@pytest.fixture(scope="module")
def deployed_miner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No doctor of those looks at this machine while a deployed miner runs on it."""
    with _processes(tmp_path_factory, fcntl.LOCK_EX):
        yield
