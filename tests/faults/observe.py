"""The four witnesses of a fault: bytes on nodes, rows, recorded events, and the operator's view."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from engine.observe.audit_reader import open_audit
from engine.ssh.authorized_keys import inventory
from engine.ssh.keylines import KeyLine
from tests.support.miner_subnet import PATIENCE_S, MinerSubnet
from tests.support.sshd import NodeSshd

CANARY = "canary-"
"""Throw-away grants of a proof under way begin with it; ``settle`` wants them gone."""
CLOCK_SLACK_S = 2
"""Whole seconds of two clocks, read one after the other."""


@dataclass(frozen=True)
class Row:
    """What matters of a grant's row."""

    id: str
    node_id: str
    hotkey: str
    blob_base64: str
    expires_at: float
    deployed_exp: int | None
    ended_at: float | None
    end_reason: str
    removed_at: float | None
    certified: bool

    def is_wanted(self, now: float) -> bool:
        return self.ended_at is None and self.expires_at > now


def _read(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as connection:
        try:
            return connection.execute(statement).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):  # killed before its first migration
                return []
            raise


def database(subnet: MinerSubnet) -> Path:
    """The state database's file."""
    return subnet.root / "data" / "miner.db"


def grant_rows(subnet: MinerSubnet) -> list[Row]:
    """Every grant that was ever written."""
    if not database(subnet).exists():
        return []
    columns = "id, node_id, hotkey, blob_base64, expires_at, deployed_exp, ended_at, end_reason, removed_at, certified"
    return [Row(*one) for one in _read(database(subnet), f"select {columns} from engine_grants")]  # type: ignore[arg-type]


def open_rows(subnet: MinerSubnet) -> list[Row]:
    """Grants whose key may still be on a node."""
    return [row for row in grant_rows(subnet) if row.removed_at is None]


def integrity(subnet: MinerSubnet) -> list[str]:
    """SQLite's own verdict on both databases; empty when sound."""
    files = [database(subnet), *database(subnet).parent.glob("*.events.db")]
    verdicts = [
        (file.name, str(row[0])) for file in files if file.exists() for row in _read(file, "pragma integrity_check")
    ]
    return [f"{name}: {verdict}" for name, verdict in verdicts if verdict != "ok"]


def events(subnet: MinerSubnet, *kinds: str) -> list[Mapping[str, object]]:
    """Recorded events of these kinds, oldest first."""
    (file,) = database(subnet).parent.glob("*.events.db")
    found = [json.loads(str(row[0])) for row in _read(file, "select record from engine_events order by id")]
    return [one for one in found if not kinds or one["kind"] in kinds]


def await_event(
    subnet: MinerSubnet, kind: str, *, seconds: float = PATIENCE_S, **fields: object
) -> Mapping[str, object]:
    """The first recorded event of this kind with these fields; events are written in batches."""
    deadline = time.monotonic() + seconds
    while True:
        for event in events(subnet, kind):
            if all(event.get(name) == value for name, value in fields.items()):
                return event
        assert time.monotonic() < deadline, f"no event {kind} {fields}; log: {subnet.log()[-3000:]}"
        time.sleep(0.1)


async def audit_break(subnet: MinerSubnet) -> str:
    """Where the audit log's chain does not hold; empty when it does."""
    async with open_audit(f"sqlite:{database(subnet)}") as reader:
        broken = (await reader.verify()).broken
    return "" if broken is None else str(broken)


def our_lines(node: NodeSshd) -> list[KeyLine]:
    """Lines with a grant marker, in the account's file and in the one that only root can write."""
    return [line for lines in lines_by_file(node).values() for line in lines]


def lines_by_file(node: NodeSshd) -> dict[str, list[KeyLine]]:
    """Lines with a grant marker, by the file that they stand in."""
    files = {"authorized_keys": node.keys(), "root's": node.protected_keys()}
    return {name: list(inventory(data).ours) for name, data in files.items()}


@dataclass(frozen=True)
class Way:
    """One way in: a line of a grant's own, or a name on the authority's line."""

    grant_id: str
    ends: int
    blob: bytes
    line: KeyLine

    @property
    def is_certified(self) -> bool:
        return bool(self.line.guests)


def ways_in(node: NodeSshd) -> list[Way]:
    """Every grant that opens a node, by whatever line."""
    return ways_by(our_lines(node))


def ways_by(lines: Iterable[KeyLine]) -> list[Way]:
    """Every grant that these lines let in."""
    found = []
    for line in lines:
        found += [Way(one, end, one.encode(), line) for one, end in line.guests]
        if not line.guests:
            found.append(Way(line.grant_id, line.expires_at_unix, line.blob, line))
    return found


def foreign_bytes(content: bytes) -> bytes:
    """The file without our lines, exactly as it is; ours always end in a line feed here."""
    return b"".join(line for line in content.splitlines(keepends=True) if b" grant=" not in line)


@dataclass
class Baseline:
    """What the operator has written on each node; grows when the operator edits."""

    subnet: MinerSubnet
    content: dict[int, bytes] = field(default_factory=dict)
    stated: dict[str, float] = field(default_factory=dict)
    """The latest end that a grant's row was ever seen to state."""

    def __post_init__(self) -> None:
        for node in self.subnet.nodes:
            self.content[node.port] = node.keys()

    def append(self, node: NodeSshd, line: bytes) -> None:
        """The operator adds a line, as ``echo … >>`` does."""
        with node.inside(node.authorized_keys).open("ab", buffering=0) as file:
            file.write(line)
        self.content[node.port] += line

    def violations(self) -> list[str]:
        """Nodes where a foreign byte changed. An append under way may not have been moved over yet: asked again."""
        found = [node for node in self.subnet.nodes if foreign_bytes(node.keys()) != self.content[node.port]]
        if found:
            time.sleep(0.5)
        return [
            f"foreign lines changed on {node.port}: {_difference(self.content[node.port], foreign_bytes(node.keys()))}"
            for node in found
            if foreign_bytes(node.keys()) != self.content[node.port]
        ]


def _difference(before: bytes, after: bytes) -> str:
    lost = Counter(before.splitlines()) - Counter(after.splitlines())
    more = Counter(after.splitlines()) - Counter(before.splitlines())
    return f"lost {list(lost)[:3]}, gained {list(more)[:3]}, bytes {len(before)} -> {len(after)}"


def violations_now(baseline: Baseline) -> list[str]:
    """What must hold at every instant, engine alive or dead: rows before lines, one line per grant, an end on each.

    While a node's grants move from one file to the other a line stands in both.
    """
    subnet = baseline.subnet
    ways = {
        f"{node.port} {file}": ways_by(lines) for node in subnet.nodes for file, lines in lines_by_file(node).items()
    }
    rows = {row.id: row for row in grant_rows(subnet)}
    found = baseline.violations()
    for place, ours in ways.items():
        for what, counted in (("grant", [x.grant_id for x in ours]), ("key", [x.blob for x in ours])):
            found += [f"{what} twice on {place}: {one!r}" for one, count in Counter(counted).items() if count > 1]
        for way in ours:
            if way.grant_id.startswith(CANARY):
                continue
            row, line = rows.get(way.grant_id), way.line
            slack_s = CLOCK_SLACK_S if way.is_certified else 0  # a guest's end is in the node's time
            if row is None:
                found.append(f"a line without a row on {place}: {way.grant_id}")
            # A renewal by a shorter lifetime brings the row's end forward; the node keeps what it was told until then,
            # also when the kill came between the telling and its record.
            elif way.ends > max(row.expires_at, row.deployed_exp or 0, baseline.stated.get(row.id, 0.0)) + slack_s:
                found.append(
                    f"a line outlives its row on {place}: {way.grant_id} {way.ends} > {row.expires_at}, "
                    f"deployed {row.deployed_exp}, once stated {baseline.stated.get(row.id)}"
                )
            text = datetime.strptime(line.expiry_text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
            if text > line.expires_at_unix + CLOCK_SLACK_S:
                found.append(f"expiry-time {line.expiry_text} is later than {line.expires_at_unix} on {place}")
    for row in rows.values():
        baseline.stated[row.id] = max(row.expires_at, baseline.stated.get(row.id, 0.0))
    return found


def disagreements(subnet: MinerSubnet, node_ids: Mapping[str, NodeSshd]) -> list[str]:
    """Where rows and nodes differ: wanted rows without their line, lines that no wanted row asks for."""
    now = time.time()
    rows = open_rows(subnet)
    found = []
    for node_id, node in node_ids.items():
        ways = ways_in(node)
        there = {way.grant_id: way.ends for way in ways}
        wanted = {row.id: int(row.expires_at) for row in rows if row.node_id == node_id and row.is_wanted(now)}
        near = {way.grant_id: wanted.get(way.grant_id, 0) for way in ways if way.is_certified}
        same = there | {one: end for one, end in near.items() if abs(there[one] - end) <= CLOCK_SLACK_S}
        if same != wanted:
            found.append(f"{node.port}: lines {there}, rows {wanted}")
        both = [{line.grant_id for line in lines} for lines in lines_by_file(node).values()]
        if twice := both[0] & both[1]:
            found.append(f"{node.port}: {sorted(twice)} in both files")
        found += [
            f"{node.port}: {row.id} is over and not removed"
            for row in rows
            if row.node_id == node_id and not row.is_wanted(now)
        ]
    return found


def settle(subnet: MinerSubnet, node_ids: Mapping[str, NodeSshd], *, seconds: float = PATIENCE_S) -> list[str]:
    """Wait until rows and nodes agree; what still differs after so long."""
    deadline = time.monotonic() + seconds
    while (found := disagreements(subnet, node_ids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found
