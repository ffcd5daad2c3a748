"""Killed at any moment: no usable key beyond its time, no foreign line changed, rows and nodes agree again."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from tests.faults.conftest import FAULTS
from tests.faults.storm import Storm
from tests.support.nursery import Nursery
from tests.support.sshd import NodeSshd

pytestmark = [pytest.mark.sshd, pytest.mark.fault(1, 2, 3, 10, 11)]
KILLS = {"": 8, "full": 500}.get(FAULTS, 60)


@pytest.mark.core
@pytest.mark.timeout(14400)
async def test_killed_at_random_moments(
    sshd_nodes: Callable[..., NodeSshd],
    tmp_path_factory: pytest.TempPathFactory,
    nursery: Nursery,
    say: Callable[[str], None],
) -> None:
    """SIGKILL during start, traffic and shutdown, over eight real nodes; every promise is checked after each."""
    seed = int(os.environ.get("FAULT_SEED") or random.SystemRandom().randrange(1 << 32))
    kills = int(os.environ.get("FAULT_KILLS") or KILLS)
    say(f"storm: FAULT_SEED={seed}, {kills} kills")
    print(f"FAULT_SEED={seed}")
    # Two nodes have a configuration of their own: their grants move to a file that only root can write, and back.
    nodes = [sshd_nodes(has_own_etc=number < 2 and os.geteuid() == 0) for number in range(8 if FAULTS else 4)]
    storm = Storm(tmp_path_factory.mktemp("storm"), nodes, nursery, seed)
    try:
        tally = await storm.run(kills, say=lambda text: print(text, flush=True))
    finally:
        storm.subnet.kill()
    say(f"storm: {tally}")
    assert tally.violations == [], f"FAULT_SEED={seed}\n" + "\n".join(tally.violations)
