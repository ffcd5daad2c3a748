"""The change of the miner's own key, where a node fails in a way that nobody foresaw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engine.clock import ManualClock
from engine.events import Event
from engine.miner.rotation import Rotation
from engine.ssh.keys import ClientKey
from engine.ssh.target import NodeTarget

TARGETS = {name: NodeTarget(name, "192.0.2.7", 22, "u") for name in ("n1", "n2", "n3")}


class Memory:
    """In the store's place."""

    def __init__(self) -> None:
        self.value: Any = None

    async def put(self, _: str, value: object) -> None:
        self.value = value


class Keys:
    """In the pool's place: which keys are used."""

    def __init__(self, key: ClientKey) -> None:
        self.key = key

    def use_keys(self, key: ClientKey, _: ClientKey | None = None) -> None:
        self.key = key


async def test_what_nobody_foresaw_at_one_node_stops_no_other(tmp_path: Path, monkeypatch: Any) -> None:
    """The others are done, that node waits with the former key, and the operator is told why."""
    path = tmp_path / "key"
    former = ClientKey.load_or_create(path, "miner")
    memory, pool, events = Memory(), Keys(former), list[Event]()

    async def targets() -> dict[str, NodeTarget]:
        return TARGETS

    keyvalue: Any = memory
    keys: Any = pool
    rotation = Rotation(keys, path, keyvalue, targets, clock=ManualClock(), emit=events.append, node_deadline_s=20.0)

    def step(stage: str) -> Any:
        async def take(target: NodeTarget) -> None:
            if target.node_id == "n1":
                raise ZeroDivisionError("odd answer")
            await rotation._note(target, stage)

        take.__name__ = stage
        return take

    monkeypatch.setattr(rotation, "_deploy", step("deployed"))
    monkeypatch.setattr(rotation, "_clean", step("clean"))
    said: list[str] = []
    result = await rotation.rotate(said.append)
    assert (result["done"], result["pending"]) == (2, ["n1"])
    assert pool.key.fingerprint != former.fingerprint
    assert memory.value["nodes"] == {"n2": "clean", "n3": "clean"}
    assert [line for line in said if "odd answer" in line] == [f"{TARGETS['n1'].label}: ZeroDivisionError: odd answer"]
