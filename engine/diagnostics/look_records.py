"""The engine's own records, read beside a running engine: grants, baselines, the last metagraph's age."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING
from urllib.parse import quote

from engine.config.common import RoleConfig

if TYPE_CHECKING:
    from engine.miner.drift import Baseline
    from engine.store.records import Grant

METAGRAPH_KEY = "chain.metagraph"
ENROLMENT = "access.enrolment."
PLACEMENT = "access.grants_file."


@dataclass(frozen=True)
class Records:
    """What was read; ``trouble`` says why not."""

    grants: Mapping[str, tuple[Grant, ...]] | None = None
    """Open grants by node id."""
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    """By node id and address, as the engine files them."""
    canaries: Mapping[str, str] = field(default_factory=dict)
    """By node id: what the enrolment's canary showed (``engine.ssh.canary.Verdict``)."""
    placements: Mapping[str, str] = field(default_factory=dict)
    """By address: how far a node's grants are in a file that only root can write (``engine.miner.grant_files``)."""
    metagraph_read_at: float | None = None
    trouble: str = ""

    def baseline(self, node_id: str, label: str) -> Baseline | None:
        """What the operator answers for on that node."""
        return self.baselines.get(f"{node_id}.{label}")


def read_records(config: RoleConfig) -> Records:
    """Blocking. A database that is not there yet holds nothing, which is no trouble."""
    path = config.database.file
    assert path is not None, "look_server reads what is on a server"
    if not path.exists():
        return Records(trouble="the engine has not run yet")
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=3)
        try:
            return _read(connection)
        finally:
            connection.close()
    except sqlite3.Error as error:
        return Records(trouble=f"{path}: {error}")


def _read(connection: sqlite3.Connection) -> Records:
    from engine.store.records import Grant  # noqa: PLC0415 - the store takes long to load

    names = tuple(one.name for one in fields(Grant))
    columns = ", ".join(names)
    found = []
    for row in connection.execute(f"SELECT {columns} FROM engine_grants WHERE removed_at IS NULL"):  # noqa: S608 - our own names
        values = dict(zip(names, row, strict=True))
        found.append(Grant(**{**values, "wrapped": bool(values["wrapped"])}))
    return records_of(found, connection.execute("SELECT key, value FROM engine_keyvalue"))


def records_of(open_grants: Iterable[Grant], pairs: Iterable[tuple[str, str]]) -> Records:
    """Rows as they are stored, in order."""
    from engine.miner.drift import Baseline  # noqa: PLC0415 - the store behind it takes long to load

    grants: dict[str, tuple[Grant, ...]] = {}
    for grant in open_grants:
        grants[grant.node_id] = (*grants.get(grant.node_id, ()), grant)
    baselines, canaries, placements, read_at = {}, {}, {}, None
    for key, value in pairs:
        with contextlib.suppress(ValueError, TypeError, AttributeError, KeyError):
            if key == METAGRAPH_KEY:
                read_at = float(json.loads(value)["read_at"])
            elif key.startswith(ENROLMENT):
                canaries[key.removeprefix(ENROLMENT)] = str(json.loads(value)["verdict"])
            elif key.startswith(PLACEMENT):
                placements[key.removeprefix(PLACEMENT)] = str(json.loads(value)["stage"])
            elif key.startswith("access.lines."):
                record = json.loads(value)
                baselines[key.removeprefix("access.lines.")] = Baseline(
                    {str(k): float(v) for k, v in record.get("accepted", {}).items()},
                    {str(k): float(v) for k, v in record.get("others", {}).items()},
                )
    return Records(grants, baselines, canaries, placements, read_at)
