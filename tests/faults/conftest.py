"""Which faults run: a core in every test run, all of them with ``FAULTS=1``, 500 kills with ``FAULTS=full``."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.places import Clockwork
from tests.support.miner_subnet import MinerSubnet, create_subnet
from tests.support.nursery import Nursery
from tests.support.sshd import NodeSshd

FAULTS = os.environ.get("FAULTS", "")
Subnets = Callable[..., MinerSubnet]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(*numbers): faults of docs/faults.md that a test produces")
    config.addinivalue_line("markers", "core: a fault that runs without FAULTS too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without FAULTS only the core runs. A limit is for what hangs; waiting for conditions has its own."""
    faults = [item for item in items if "tests/faults/" in item.path.as_posix()]
    for item in faults:
        if not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(900))
    if FAULTS:
        return
    here = [item for item in faults if not item.get_closest_marker("core")]
    if here:
        config.hook.pytest_deselected(items=here)
        items[:] = [item for item in items if item not in set(here)]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the storm counted."""
    for line in REPORT:
        terminalreporter.write_line(line)


REPORT: list[str] = []


@pytest.fixture
def say() -> Callable[[str], None]:
    """Adds a line to the summary at the end."""
    return REPORT.append


@pytest.fixture
def clocks() -> Iterator[Callable[[], Clockwork]]:
    """Makes clocks that the test moves, in a directory that every account can read."""
    with tempfile.TemporaryDirectory(prefix="basilica-clock-") as directory:
        yield lambda: Clockwork(Path(directory))


@pytest.fixture
def subnets(tmp_path_factory: pytest.TempPathFactory, nursery: Nursery) -> Iterator[Subnets]:
    """Makes subnets whose engines come from the nursery and end with the test."""
    made: list[MinerSubnet] = []

    def make(nodes: list[NodeSshd], **settings: object) -> MinerSubnet:
        # The first visit to a node proves its sshd with logins of its own; a loaded machine needs time for that.
        settings["access"] = {"node_deadline": 40} | dict(settings.get("access") or {})  # type: ignore[call-overload]
        subnet = create_subnet(tmp_path_factory.mktemp("s"), nodes, **settings)  # type: ignore[arg-type]
        subnet.launch = nursery.start
        made.append(subnet)
        return subnet

    yield make
    for subnet in made:
        subnet.kill()
