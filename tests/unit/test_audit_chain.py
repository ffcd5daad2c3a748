"""The audit chain: what it notices, and the exact bytes that are hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import events as ev
from engine.observe.audit_chain import GENESIS, Anchor, Entry, Verdict, Verifier, hash_of, link_all
from engine.observe.audit_entries import RefusalGate, entry_of
from engine.store.records import AuditRecord

Records = list[AuditRecord]


def entries(count: int) -> list[Entry]:
    return [
        Entry(1_700_000_000.123456 + number, "key.deployed", f"5V{number}", f"node-{number}", "deployed", {"n": number})
        for number in range(count)
    ]


def chain(count: int = 6) -> Records:
    return list(link_all(entries(count), None))


def verify(records: Records, *anchors: Anchor) -> Verdict:
    verifier = Verifier(anchors)
    for record in sorted(records, key=lambda r: r.seq):
        verifier.add(record)
    return verifier.finish()


def test_a_whole_chain_is_intact() -> None:
    """Six records, numbered from 1, each following the one before."""
    records = chain()
    verdict = verify(records)
    assert verdict.broken is None
    assert (verdict.records, verdict.head.seq, verdict.head.hash) == (6, 6, records[-1].hash)
    assert records[0].prev_hash == GENESIS


def test_an_empty_log_is_intact() -> None:
    """Nothing happened yet."""
    assert verify([]).broken is None


def test_the_documented_bytes_are_hashed() -> None:
    """The hash can be computed with nothing but the documentation."""
    (record,) = link_all([Entry(1.5, "k", "a", "süd", "o", {"b": 1, "a": "x"})], None)
    canonical = (
        '{"actor":"a","at_us":1500000,"details":"{\\"a\\":\\"x\\",\\"b\\":1}","kind":"k","outcome":"o",'
        '"seq":1,"subject":"s\\u00fcd"}'
    )
    assert record.hash == hashlib.sha256(("0" * 64 + "\n" + canonical).encode()).hexdigest()


def _forged(records: Records, index: int) -> Records:
    """Record ``index`` changed together with its own hash, as somebody would who knows the scheme."""
    changed = replace(records[index], outcome="forged")
    return [*records[:index], replace(changed, hash=hash_of(changed)), *records[index + 1 :]]


def _swapped(records: Records, a: int, b: int) -> Records:
    """The contents of two records exchanged, their numbers kept."""
    out = list(records)
    out[a] = replace(records[b], seq=records[a].seq)
    out[b] = replace(records[a], seq=records[b].seq)
    return out


@pytest.mark.parametrize(
    ("tamper", "broken_at", "words"),
    [
        (lambda r: [*r[:2], replace(r[2], outcome="refused"), *r[3:]], 3, "content was changed"),
        (lambda r: [*r[:2], replace(r[2], actor="5X"), *r[3:]], 3, "content was changed"),
        (lambda r: [*r[:2], replace(r[2], subject=""), *r[3:]], 3, "content was changed"),
        (lambda r: [*r[:2], replace(r[2], kind="key.removed"), *r[3:]], 3, "content was changed"),
        (lambda r: [*r[:2], replace(r[2], details='{"n": 2}'), *r[3:]], 3, "content was changed"),
        (lambda r: [*r[:2], replace(r[2], at=r[2].at + 0.001), *r[3:]], 3, "content was changed"),
        (lambda r: [*r[:2], replace(r[2], hash="0" * 64), *r[3:]], 3, "content was changed"),
        (lambda r: [*r[:2], replace(r[2], prev_hash=r[0].hash), *r[3:]], 3, "content was changed"),
        (lambda r: _forged(r, 2), 4, "does not follow"),
        (lambda r: [*r[:2], *r[3:]], 3, "record 3 is missing"),
        (lambda r: [*r[:1], *r[4:]], 2, "records 2 to 4 are missing"),
        (lambda r: r[1:], 1, "record 1 is missing"),
        (lambda r: _swapped(r, 1, 4), 2, "content was changed"),
        (lambda r: [replace(r[0], seq=0), *r], 0, "put in front"),
    ],
)
def test_tampering_shows_at_the_first_broken_link(
    tamper: Callable[[Records], Records], broken_at: int, words: str
) -> None:
    """Changed, deleted, reordered and inserted records are found, by number."""
    broken = verify(tamper(chain())).broken
    assert broken is not None
    assert broken.seq == broken_at
    assert words in broken.reason


def test_a_cut_tail_shows_only_against_an_anchor() -> None:
    """The chain itself cannot know how long it was; a head that was written down elsewhere can."""
    records = chain()
    anchor = Anchor(records[4].seq, records[4].hash)
    assert verify(records[:3]).broken is None
    broken = verify(records[:3], anchor).broken
    assert broken is not None
    assert broken.seq == 4
    assert "once reached record 5" in broken.reason
    whole = verify(records, anchor)
    assert whole.broken is None
    assert whole.anchors == 1


def test_a_rewritten_chain_shows_against_an_anchor() -> None:
    """Somebody who links everything anew is caught by one old head."""
    records = chain()
    forged = list(link_all([replace(e, outcome="nothing happened") for e in entries(6)], None))
    assert verify(forged).broken is None
    broken = verify(forged, Anchor(records[3].seq, records[3].hash)).broken
    assert broken is not None
    assert broken.seq == 4


@given(
    st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20), st.floats(0, 4e9)), min_size=1, max_size=8),
    st.data(),
)
def test_any_changed_character_is_found(contents: list[tuple[str, str, float]], data: st.DataObject) -> None:
    """Whatever text is on record, one character more in any field breaks the chain there."""
    records = list(link_all([Entry(at, "k", a, s, "o", {"t": s}) for a, s, at in contents], None))
    assert verify(records).broken is None
    index = data.draw(st.integers(0, len(records) - 1))
    field = data.draw(st.sampled_from(["kind", "actor", "subject", "outcome", "details"]))
    changed = replace(records[index], **{field: getattr(records[index], field) + "x"})
    broken = verify([*records[:index], changed, *records[index + 1 :]]).broken
    assert broken is not None
    assert broken.seq == index + 1


def refused(number: int, reason: str = "Invalid signature") -> ev.CallRefused:
    return ev.CallRefused(
        at=float(number),
        call="AuthenticateValidator",
        validator_hotkey="5V",
        dialect="A",
        peer=f"ipv4:10.0.0.{number % 200}:1",
        status="UNAUTHENTICATED",
        reason=reason,
    )


def test_a_flood_of_refusals_is_counted_not_listed() -> None:
    """Sixty a minute are on record one by one, the rest as one record with their number, reasons and sources."""
    gate = RefusalGate()
    listed = [e for _ in range(5000) for e in gate.admit(refused(5), 5.0)]
    assert len(listed) == 60
    assert gate.flush(64.0) == []
    (summary,) = gate.flush(65.0)
    assert summary.details["count"] == 4940
    assert summary.details["peers"] == 1
    assert summary.details["reasons"] == {"Invalid signature": 4940}
    assert gate.flush(66.0) == []


def test_the_summary_comes_before_what_follows() -> None:
    """The first refusal of the next minute closes the account of the last one."""
    gate = RefusalGate(per_window=1)
    gate.admit(refused(0), 0.0)
    gate.admit(refused(1, "Request nonce was already used"), 1.0)
    summary, single = gate.admit(refused(61), 61.0)
    assert summary.kind == "door.refused_many"
    assert single.kind == "door.refused"
    assert json.dumps(summary.details)


@pytest.mark.parametrize(
    ("event", "actor", "subject", "outcome"),
    [
        (
            ev.KeyDeployed(
                at=1.0,
                grant_id="g",
                node_id="n",
                validator_hotkey="5V",
                expires_at=2.0,
                expiry_form="utc",
                renewed=False,
            ),
            "5V",
            "n",
            "deployed",
        ),
        (
            ev.KeyRemoved(at=1.0, grant_id="g", node_id="n", validator_hotkey="5V", reason="expired"),
            "5V",
            "n",
            "removed: expired",
        ),
        (
            ev.KeyFailed(at=1.0, node_id="n", operation="deploy", error_code="ssh_timeout", message="m", hint=""),
            "engine",
            "n",
            "deploy failed: ssh_timeout",
        ),
        (refused(1), "5V", "ipv4:10.0.0.1:1", "refused: Invalid signature"),
        (
            ev.OperatorActed(at=1.0, actor="root (pid 1)", verb="session.end", target="5V", outcome="done"),
            "root (pid 1)",
            "5V",
            "session.end: done",
        ),
        (
            ev.HostKeyAccepted(at=1.0, node_id="n", fingerprint="SHA256:f", actor="operator"),
            "operator",
            "n",
            "accepted",
        ),
    ],
)
def test_entries_say_who_whom_and_how(event: ev.Event, actor: str, subject: str, outcome: str) -> None:
    """Each kind of record has its actor, subject and outcome, and everything else in its details."""
    entry = entry_of(event)
    assert entry is not None
    assert (entry.actor, entry.subject, entry.outcome) == (actor, subject, outcome)
    assert entry.kind == event.kind


def test_what_is_no_matter_of_record_is_left_out() -> None:
    """Health checks and metagraph readings do not fill the log."""
    assert entry_of(ev.NodeChecked(at=1.0, node_id="n", ok=True, latency_ms=1.0)) is None
