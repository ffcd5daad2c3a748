"""Who runs what under ``pytest -n``: the longest files first, so that no worker is left alone with one at the end.

A file stays on one worker, for its module's fixtures; the files in DEALT have none that cost and go test by test.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

SECONDS = {
    "tests/gallery/test_booted.py": 200,
    "tests/gallery/test_host.py": 200,
    "tests/console/test_pictures.py": 150,
    "tests/engine/test_localnet_demo.py": 110,
    "tests/gallery/test_network.py": 109,  # shorter, but before those who wait for it
    "tests/gallery/test_take_over.py": 105,  # longer, but it waits for test_host and test_network
    "tests/gallery/test_nodes.py": 100,
    "tests/faults/test_kill.py": 75,
    "tests/engine/test_booted_service.py": 60,
    "tests/engine/test_miner_access.py": 60,
    "tests/engine/test_access_nodes.py": 60,
    "tests/engine/test_validator_role.py": 60,
    "tests/engine/test_access_certificates.py": 60,
    "tests/engine/test_rest_schema.py": 60,
    "tests/engine/test_setup_unattended.py": 60,
    "tests/gallery/test_take_over_container.py": 55,  # longer, but it waits for test_take_over
    "tests/faults/test_nodes.py": 50,
    "tests/engine/test_reload.py": 40,
    "tests/engine/test_root_file.py": 40,
    "tests/console/test_console.py": 40,
    "tests/console/test_hostile.py": 40,
    "tests/console/test_keys.py": 40,
    "tests/faults/test_host.py": 35,
    "tests/faults/test_socket.py": 30,
    "tests/console/test_setup_screen.py": 30,
    "tests/fuzz/test_door_fuzz.py": 30,
    "tests/engine/test_recording_daemon.py": 30,
    "tests/engine/test_rest_observed.py": 30,
    "tests/engine/test_localnet_subnet.py": 30,
}
"""How long the long ones take with idle cores; what is not here counts as short, in the order of collection."""
DEALT = frozenset({"tests/console/test_pictures.py"})


class LongestFirst(LoadScopeScheduling):  # type: ignore[misc]  # xdist's base class is untyped here
    """By file, or by test where that is allowed, in the order of ``ordered``."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file in DEALT else file


def file_of(item: pytest.Item) -> str:
    """The test file, as it is named in SECONDS."""
    return item.nodeid.partition("::")[0]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a worker: the longest files first; each file's own order stays."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: -SECONDS.get(file_of(item), 0))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LongestFirst:
    """Takes the place of ``--dist``'s own."""
    config.option.loadscopereorder = False
    return LongestFirst(config, log)
