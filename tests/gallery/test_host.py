"""Broken hosts: the doctor's command names the cause and nothing else, and ``--fix --yes`` repairs what it can."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.ssh.keys import ClientKey
from tests.gallery.host_situations import HOST_SITUATIONS, HostSituation
from tests.gallery.machine import Machine, build_machine, remove_machine, why_no_machines
from tests.gallery.world import World, build_template, build_world

pytestmark = [
    pytest.mark.sshd,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(why_no_machines()), reason=why_no_machines()),
    pytest.mark.usefixtures("no_deployed_miner"),
]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wallet, key and chain."""
    return tmp_path_factory.mktemp("template")


@pytest.fixture(scope="module")
async def hotkey(template: Path) -> str:
    """The miner's, once the template is built."""
    return await build_template(template)


@pytest.fixture(scope="module")
def machines(template: Path, hotkey: str) -> Iterator[list[Machine]]:
    """Two healthy nodes for all situations."""
    assert hotkey
    line = ClientKey.from_file(template / "node_key").public_line
    found = [build_machine(line) for _ in range(2)]
    for machine in found:
        machine.start()
    yield found
    for machine in found:
        remove_machine(machine)


@pytest.fixture
async def world(template: Path, hotkey: str, machines: list[Machine], tmp_path: Path) -> AsyncIterator[World]:
    """A healthy host."""
    root = tmp_path / "w"
    root.mkdir(mode=0o700)
    world = await build_world(template, root, hotkey, machines)
    yield world
    world.close()
    shutil.rmtree(root, ignore_errors=True)


def findings(document: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["check"], one["cause"]) for one in document["results"] if one["verdict"] in ("warning", "failed")]


async def test_a_healthy_host_has_no_findings(world: World) -> None:
    """Status 0, nothing found, and what could not be checked says why."""
    world.write()

    status, document = world.doctor()

    assert findings(document) == []
    assert status == 0
    assert all(one["reason"] for one in document["results"] if one["verdict"] == "skipped")
    assert document["counts"]["ok"] > 60


@pytest.mark.parametrize("situation", HOST_SITUATIONS, ids=str)
async def test_the_cause_is_named_and_the_fix_repairs(world: World, situation: HostSituation) -> None:
    """The finding is exactly the expected one; with --fix --yes it is gone, or the gallery says why it cannot be."""
    situation.prepare(world)
    world.write()
    status, document = await _doctor(world, situation)

    found = [one for one in findings(document) if one[0] not in situation.beside]
    assert found == [(situation.check, situation.cause)], document["results"]
    entry = next(one for one in document["results"] if one["check"] == situation.check and one["cause"])
    assert "".join(entry["fixes"][:1]) == situation.fix
    assert status == (2 if entry["verdict"] == "failed" else 1) or situation.beside
    if not situation.repaired:
        assert situation.why_not
        return
    _, after = await _doctor(world, situation, fix=True)
    assert [(one["fix"], one["ending"]) for one in after["fixes"]][:1] == [(situation.fix, "repaired")], after["fixes"]
    assert [one for one in findings(after) if one[0] not in situation.beside] == []


async def _doctor(world: World, situation: HostSituation, *, fix: bool = False) -> tuple[int, dict[str, Any]]:
    """In this process, or as the command where the situation needs private mounts, a network or a clock."""
    if not (situation.script or situation.in_network or situation.clock):
        return await world.look(situation.scopes, fix=fix)
    words = [word for scope in situation.scopes for word in ("--scope", scope)]
    return world.doctor(
        *words,
        *(("--fix", "--yes") if fix else ()),
        script=situation.script,
        in_network=situation.in_network,
        clock=situation.clock,
    )
