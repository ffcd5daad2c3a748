"""Rules of access in tables: what a canary means, whose session is ended, and how key files change places."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.miner.capabilities import judge, skew_level, split_rows
from engine.miner.grants import is_wrapped
from engine.miner.rotation import prepare_key, remove_key_files, switch_files
from engine.ssh.canary import Verdict, canary_ids
from engine.ssh.capability import NodeCapability
from engine.ssh.keys import ClientKey
from engine.ssh.sessions import Process, Visitors, attribute, read_visitors, victims_of
from engine.ssh.target import NodeTarget
from engine.store.records import Grant

TARGET = NodeTarget("n1", "10.0.0.1", 22, "gpu")
GOOD = NodeCapability("SSH-2.0-OpenSSH_9.2", "utc", 0.1)
GRANT = Grant("g1", "n1", "5V", "ssh-ed25519", "AAAA", "SHA256:x", 1.0, 1.0, 100.0)


@pytest.mark.parametrize(
    ("verdict", "form", "enforced", "refusal"),
    [
        (Verdict.PROVED, "utc", "proved", None),
        (Verdict.UNCLEAR, "utc", "assumed", None),
        (Verdict.NOT_ENFORCED, "none", "removal only", None),
        (Verdict.NOT_READ, "utc", "assumed", "other_key_file"),
    ],
)
def test_a_verdict_decides_what_a_line_may_carry(
    verdict: Verdict, form: str, enforced: str, refusal: str | None
) -> None:
    """An expiry that is not enforced is not written; a file that sshd does not read gets no key."""
    found = judge(TARGET, GOOD, verdict)
    assert (found.capability.expiry_form, found.enforced) == (form, enforced)
    assert (found.refusal.reason if found.refusal else None) == refusal


def test_a_node_without_expiry_is_removal_only() -> None:
    """However well its canary sings."""
    assert judge(TARGET, replace(GOOD, expiry_form="none"), Verdict.OPENS).enforced == "removal only"


@pytest.mark.parametrize(
    ("skew_s", "level"),
    [(0, "ok"), (-5, "ok"), (5.1, "warning"), (-300, "warning"), (301, "refused"), (-9e9, "refused")],
)
def test_a_wrong_clock_is_told_and_a_very_wrong_one_refused(skew_s: float, level: str) -> None:
    """Either direction counts."""
    assert skew_level(skew_s) == level
    refusal = judge(TARGET, replace(GOOD, clock_skew_s=skew_s), Verdict.PROVED).refusal
    assert (refusal.reason if refusal else None) == ("clock_skew" if level == "refused" else None)


def test_a_refusal_leaves_standing_lines_alone_and_removals_go_on() -> None:
    """Rows that are wanted are neither written nor removed; rows that are over are removed."""
    over = replace(GRANT, id="g2", ended_at=5.0)
    refusal = judge(TARGET, GOOD, Verdict.NOT_READ).refusal
    assert split_rows([GRANT, over], 10.0, None) == ([GRANT], [over])
    assert split_rows([GRANT, over], 10.0, refusal) == ([], [over])


@pytest.mark.parametrize(
    ("mode", "dialect", "wrapped"),
    [("off", "B", False), ("ours", "A", False), ("ours", "B", True), ("all", "A", True), ("all", "B", True)],
)
def test_who_is_wrapped(mode: str, dialect: str, wrapped: bool) -> None:
    """Third-party validators only when the operator says so."""
    assert is_wrapped(mode, dialect) is wrapped  # type: ignore[arg-type]  # literals from the table


def test_canary_ids_belong_to_an_engine_and_a_node() -> None:
    """A crash's canary is recognised by the engine that sent it, and by no other."""
    ids = {canary_ids({key}, replace(TARGET, node_id=node)) for key in ("A", "B") for node in ("n1", "n2")}
    assert len(ids) == 4 and all(len(set(three)) == 3 for three in ids)
    assert len(canary_ids({"A", "B"}, TARGET)) == 6


def visitors(*processes: Process) -> Visitors:
    # 10: the engine's connection, 11: its looking shell; 20: the validator's; 30: the operator's.
    everybody = (
        Process(10, 1, 100, "sshd: gpu@notty"),
        Process(11, 10, 110),
        Process(20, 1, 200, "sshd-session: gpu@pts/0"),
        Process(30, 1, 300, "sshd: gpu@notty"),
        Process(31, 30, 310),
        *processes,
    )
    return Visitors({one.pid: one for one in everybody}, 11, "gpu", 100.0, 10)


VICTIMS = {
    "its command and its connection": ([Process(21, 20, 210, grant_id="g1")], {21, 20}),
    "its grandchildren": ([Process(21, 20, 1, grant_id="g1"), Process(22, 21, 1, grant_id="g1")], {20, 21, 22}),
    "one that escaped, alone": ([Process(23, 1, 1, grant_id="g1")], {23}),
    "another grant's": ([Process(21, 20, 1, grant_id="g2")], set()),
    "by key": ([Process(21, 20, 1, key=b"old")], {21, 20}),
    "by a key that is in use": ([Process(21, 20, 1, key=b"new")], set()),
    "never the engine, whatever it says": ([Process(11, 10, 110, grant_id="g1")], set()),
    "never above the engine": ([Process(12, 10, 1, grant_id="g1")], {12}),
    "not the operator's parent shell": ([Process(32, 31, 1, grant_id="g1")], {32}),
}


@pytest.mark.parametrize("name", VICTIMS)
def test_who_is_ended(name: str) -> None:
    """Marked processes and the connection directly above them; a stranger can only ever name himself."""
    processes, expected = VICTIMS[name]
    found = victims_of(visitors(*processes), {"g1"}, {b"old"})
    assert {one.pid for one in found} == expected


def test_connections_are_attributed_or_counted() -> None:
    """What carries a living grant's mark is that grant's; the rest is somebody's, with the age of the oldest."""
    found = attribute(visitors(Process(21, 20, 1, grant_id="live")), {"live"}, ())
    assert (found.to_grants, found.others, found.oldest_other_s) == (1, 1, 70.0)


def test_a_look_is_parsed_and_nonsense_is_left_out() -> None:
    """Names with brackets and blanks, zombies, broken lines and unknown ids do not confuse it."""
    fields = "S 1 " + " ".join(["0"] * 17) + " 4711 0"
    text = "\n".join(
        [
            "a banner of the login shell", "BASILICA-SESSIONS 12.5 100 77 gpu", f"stat 77 (sh) {fields}",
            f"stat 78 (a) b (c)) {fields}", f"stat 79 (gone) {fields.replace('S', 'Z')}", "stat x",
            "title 78 sshd: gpu@notty \x1b",
            "grant 77 g1", "grant 99 g1", "grant y g1", "auth 77 publickey ssh-ed25519 AAAA", "auth 78 password",
        ]
    )  # fmt: skip
    found = read_visitors(text)
    assert found is not None and set(found.processes) == {77, 78}
    assert found.processes[77] == Process(77, 1, 4711, "", "g1", b"\0\0\0")
    assert found.processes[78].title.isprintable() and found.processes[78].key == b""
    assert read_visitors("nothing") is None and read_visitors("BASILICA-SESSIONS x 1 2 u") is None


def test_key_files_change_places_and_can_be_switched_again(tmp_path: Path) -> None:
    """The new key takes the place, the former one stands beside it; a repetition changes nothing."""
    path = tmp_path / "key"
    old = ClientKey.load_or_create(path, "miner")
    new = prepare_key(tmp_path / "key.new", "miner")
    for _ in range(2):
        switch_files(path, tmp_path / "key.pub")
        assert ClientKey.from_file(path).fingerprint == new.fingerprint
        assert ClientKey.from_file(tmp_path / "key.old").fingerprint == old.fingerprint
        assert (tmp_path / "key.pub").read_text() == new.public_line + "\n"
        assert (tmp_path / "key.old.pub").read_text() == old.public_line + "\n"
    remove_key_files(tmp_path / "key.old")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["key", "key.pub"]


def test_a_half_written_new_key_is_made_again(tmp_path: Path) -> None:
    """A crash while the key was being saved does not block the next attempt; a whole one is kept."""
    (tmp_path / "key.new").write_text("-----BEGIN OPENSSH")
    (tmp_path / "key.new").chmod(0o600)
    key = prepare_key(tmp_path / "key.new", "miner")
    assert prepare_key(tmp_path / "key.new", "miner").fingerprint == key.fingerprint
