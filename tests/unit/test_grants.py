"""Rules of grants by tables."""

from __future__ import annotations

from itertools import count

import pytest

from engine.identity.public_keys import PublicKey
from engine.miner.grants import expired, expiry_second, key_held_by_other, needs_work, next_change_at, plan_grants
from engine.store.records import Grant

NOW = 1_700_000_000.0
KEY_A = PublicKey("ssh-ed25519", "AAAA", "SHA256:a")
KEY_B = PublicKey("ssh-ed25519", "BBBB", "SHA256:b")


def grant(**changes: object) -> Grant:
    values: dict[str, object] = {
        "id": "g1",
        "node_id": "n1",
        "hotkey": "5V",
        "algorithm": "ssh-ed25519",
        "blob_base64": "AAAA",
        "fingerprint": "SHA256:a",
        "created_at": NOW - 100,
        "renewed_at": NOW - 100,
        "expires_at": NOW + 100,
    }
    return Grant(**{**values, **changes})  # type: ignore[arg-type]


def plan(open_grants: list[Grant], key: PublicKey = KEY_A, nodes: tuple[str, ...] = ("n1", "n2")):  # type: ignore[no-untyped-def]
    ids = count(1)
    return plan_grants(open_grants, nodes, "5V", key, now=NOW, lifetime_s=3600, new_id=lambda: f"new{next(ids)}")


def test_first_discovery_writes_one_grant_per_node() -> None:
    """A validator without grants gets a new one on every node, ending one lifetime from now."""
    result = plan([])

    assert [(g.node_id, g.id, g.expires_at) for g in result.put] == [
        ("n1", "new1", NOW + 3600),
        ("n2", "new2", NOW + 3600),
    ]
    assert result.end == ()


def test_renewal_keeps_the_id() -> None:
    """The same key again prolongs the same grant, and only a node without one gets a new id."""
    result = plan([grant()])

    assert [(g.node_id, g.id) for g in result.put] == [("n1", "g1"), ("n2", "new1")]
    assert result.put[0].expires_at == NOW + 3600
    assert result.put[0].created_at == NOW - 100


def test_new_key_ends_the_old_grant() -> None:
    """A validator has one key per node: another key replaces the grant of the first."""
    result = plan([grant()], KEY_B, ("n1",))

    assert [g.id for g in result.end] == ["g1"]
    assert [(g.id, g.blob_base64) for g in result.put] == [("new1", "BBBB")]


@pytest.mark.parametrize(
    "row",
    [grant(expires_at=NOW - 1), grant(expires_at=NOW), grant(ended_at=NOW - 5, end_reason="x")],
    ids=["expired", "expires now", "ended"],
)
def test_finished_grants_are_never_revived(row: Grant) -> None:
    """A grant that is over stays over: a discovery writes a new one."""
    result = plan([row], nodes=("n1",))

    assert [g.id for g in result.put] == ["new1"]


def test_duplicate_rows_collapse() -> None:
    """Two live rows for one node and key, as after a restored backup, become one."""
    result = plan([grant(), grant(id="g2")], nodes=("n1",))

    assert [g.id for g in result.put] == ["g1"]
    assert [g.id for g in result.end] == ["g2"]


def test_other_validators_are_left_alone() -> None:
    """A discovery never ends another validator's grant."""
    result = plan([grant(hotkey="5W", blob_base64="CCCC")], nodes=("n1",))

    assert result.end == ()


@pytest.mark.parametrize(
    ("row", "is_due"),
    [
        (grant(), True),
        (grant(deployed_exp=int(NOW + 100)), False),
        (grant(deployed_exp=int(NOW + 50)), True),
        (grant(deployed_exp=int(NOW + 100), ended_at=NOW), True),
        (grant(deployed_exp=int(NOW - 1), expires_at=NOW - 1), True),
        (grant(ended_at=NOW, removed_at=NOW), False),
    ],
    ids=["not deployed", "in place", "older expiry on the node", "ended", "expired", "removed"],
)
def test_needs_work(row: Grant, is_due: bool) -> None:
    """A row asks for work exactly while the node is not known to match it."""
    assert needs_work(row, NOW) is is_due


def test_expiry_is_rounded_down() -> None:
    """The node closes in the second before the row's fraction, never after it."""
    assert expiry_second(grant(expires_at=NOW + 0.9)) == int(NOW)


def test_expired_names_only_rows_that_are_not_marked() -> None:
    """Rows past their time are listed until they are marked as ended."""
    rows = [grant(id="a", expires_at=NOW), grant(id="b", expires_at=NOW, ended_at=NOW), grant(id="c")]

    assert [g.id for g in expired(rows, NOW)] == ["a"]


def test_next_change() -> None:
    """The reconciler is woken for the earliest end among wanted rows."""
    rows = [grant(expires_at=NOW + 60), grant(expires_at=NOW + 30), grant(expires_at=NOW + 5, ended_at=NOW)]

    assert next_change_at(rows, NOW) == NOW + 30
    assert next_change_at([], NOW) is None


def test_a_key_belongs_to_one_validator() -> None:
    """A key that another validator uses is found; one's own, or one that is over, is not."""
    assert key_held_by_other([grant()], "5W", "AAAA") == "5V"
    assert key_held_by_other([grant()], "5V", "AAAA") is None
    assert key_held_by_other([grant(ended_at=NOW)], "5W", "AAAA") is None
