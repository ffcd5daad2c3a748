"""Which key lines are explained, in tables; and what may be taken out of a file or put into it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.clock import ManualClock
from engine.errors import ControlRefused
from engine.events import BaselineAccepted, DriftSeen, Event
from engine.miner.drift import Baseline, DriftWatch, explain
from engine.ssh.authorized_keys import Change, Refusal, WantedKey, plan_change, plan_removal, plan_twin
from engine.ssh.keylines import read_line
from engine.ssh.keys import ClientKey
from engine.ssh.target import NodeTarget

HOTKEY = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
OWN, OPERATOR, GUEST, VALIDATOR, OLD, NEW = (
    ClientKey.generate(name) for name in ("miner", "operator@desk", "guest", "v", "miner", "miner")
)
TARGET = NodeTarget("n1", "10.0.0.1", 22, "gpu")


def grant_line(key: ClientKey, grant_id: str = "g1") -> str:
    return WantedKey(
        grant_id, f"validator-{HOTKEY}", key.algorithm, key.blob_base64, 2_000_000_000, "20330518033320Z", 2_000_000_000
    ).render().decode()  # fmt: skip


CASES = {
    "the operator's own": (OPERATOR.public_line, "operator"),
    "ours": (OWN.public_line, "own"),
    "ours, with options": (f'from="10.0.0.0/8" {OWN.public_line}', "own"),
    "a grant that is known": (grant_line(VALIDATOR), "grant"),
    "a grant that nobody knows": (grant_line(GUEST, "forged"), "orphan"),
    "a stranger": (GUEST.public_line, "drift"),
    "a stranger with a validator's tag": (f"{GUEST.algorithm} {GUEST.blob_base64} validator-{HOTKEY}", "drift"),
    "a stranger behind options": (f'command="x",no-pty {GUEST.public_line}', "drift"),
}


@pytest.mark.parametrize("name", CASES)
def test_every_line_is_explained_or_not(name: str) -> None:
    """A name or a tag explains nothing: only the baseline, the engine's key and the grants do."""
    line, kind = CASES[name]
    baseline = Baseline({OPERATOR.fingerprint: 1.0})
    (seen,) = explain(f"# note\n{line}\nnot a key\n".encode(), baseline, {OWN.blob_base64}, {"g1"})
    assert seen.kind == kind and seen.is_unexplained is (kind in {"drift", "orphan"})


def test_text_of_others_is_made_harmless_and_short() -> None:
    """A comment cannot carry escape codes, line breaks or a megabyte to the console."""
    line = GUEST.public_line.encode() + b" \x1b]0;x\x07 \r " + "\u202e".encode() + b"A" * 100_000
    (seen,) = explain(line, Baseline(), (), ())
    assert seen.comment.isprintable() and len(seen.comment) <= 80


class FakeRows:
    """Rows by key, counted."""

    def __init__(self) -> None:
        self.rows: dict[str, object] = {}
        self.writes = 0

    async def get(self, key: str) -> object | None:
        return self.rows.get(key)

    async def put(self, key: str, value: object) -> None:
        self.rows[key] = value
        self.writes += 1


async def test_the_first_reading_is_the_baseline_and_news_are_told_once() -> None:
    """What stood there first is the operator's; news are told once, their end too, and again after a restart."""
    events: list[Event] = []
    rows = FakeRows()
    watch = DriftWatch(rows, clock=ManualClock(), emit=events.append)  # type: ignore[arg-type]  # the same two methods
    before = f"{OPERATOR.public_line}\n{OWN.public_line}\n".encode()
    own, after = {OWN.blob_base64}, before + GUEST.public_line.encode()
    await watch.see(TARGET, before, own, ())
    for _ in range(3):
        await watch.see(TARGET, after, own, ())
    writes = rows.writes
    await watch.see(TARGET, after, own, ())
    assert rows.writes == writes
    again = DriftWatch(rows, clock=ManualClock(), emit=events.append)  # type: ignore[arg-type]  # as above
    await again.see(TARGET, after, own, ())
    await again.see(TARGET, before, own, ())
    told = [event.count for event in events if isinstance(event, DriftSeen)]
    first = [event.keys for event in events if isinstance(event, BaselineAccepted)]
    assert (told, first) == ([1, 1, 0], [1])


async def test_only_what_was_reported_can_be_accepted() -> None:
    """The operator answers for lines that they were shown, not for one that appeared since."""
    events: list[Event] = []
    watch = DriftWatch(FakeRows(), clock=ManualClock(), emit=events.append)  # type: ignore[arg-type]  # as above
    await watch.see(TARGET, b"", (), ())
    await watch.see(TARGET, GUEST.public_line.encode(), (), ())
    with pytest.raises(ControlRefused):
        await watch.accept(TARGET, [OPERATOR.fingerprint])
    assert await watch.accept(TARGET) == (GUEST.fingerprint,)
    both = f"{GUEST.public_line}\n{OPERATOR.public_line}".encode()
    lines = await watch.see(TARGET, both, (), ())
    assert [line.kind for line in lines] == ["operator", "drift"]


async def test_a_baseline_belongs_to_an_address() -> None:
    """An id that moves to another host starts with that host's lines."""
    rows = FakeRows()
    watch = DriftWatch(rows, clock=ManualClock(), emit=lambda _: None)  # type: ignore[arg-type]  # as above
    await watch.see(TARGET, OPERATOR.public_line.encode(), (), ())
    moved = NodeTarget("n1", "10.0.0.2", 22, "gpu")
    (line,) = await watch.see(moved, GUEST.public_line.encode(), (), ())
    assert line.kind == "operator"


FOREIGN = st.lists(
    st.one_of(
        st.binary(max_size=40).map(lambda raw: raw.replace(b"\n", b"")),
        st.sampled_from([OPERATOR.public_line.encode(), GUEST.public_line.encode() + b"\r", b"# note", b""]),
    ),
    max_size=6,
)


@given(FOREIGN, st.booleans(), st.booleans())
def test_removing_one_key_leaves_every_other_line(lines: list[bytes], has_end: bool, with_grant: bool) -> None:
    """Lines of other keys, grants among them, stay byte for byte and in order, whatever else is in the file."""
    old = b"\n".join(lines) + (b"\n" if has_end and lines else b"")
    if with_grant:
        key = WantedKey("g1", f"validator-{HOTKEY}", VALIDATOR.algorithm, VALIDATOR.blob_base64, 2_000_000_000)
        change = plan_change(old, [key])
        assert isinstance(change, Change)
        old = change.new
    guest = read_line(GUEST.public_line.encode()).blob
    result = plan_removal(old, lambda line: line.blob == guest, {OWN.blob_base64})
    assert isinstance(result, Change)

    def others(data: bytes) -> list[bytes]:
        found = [line for line in data.split(b"\n") if read_line(line).blob != guest or not read_line(line).is_key]
        return [line.removesuffix(b" nl") for line in found if line]

    assert others(result.new) == others(old)
    assert not any(read_line(line).blob == guest and read_line(line).is_key for line in result.new.split(b"\n"))


def test_the_engines_own_key_is_never_removed() -> None:
    """A plan that would lock the engine out is refused."""
    result = plan_removal(OWN.public_line.encode(), lambda _: True, {OWN.blob_base64})
    assert isinstance(result, Refusal) and result.reason == "own_key_lost"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
@pytest.mark.parametrize("options", [b"", b'from="10.0.0.0/8",command="a \\"b c\\"" '])
def test_a_new_key_gets_the_same_line_and_the_old_one_goes_without_trace(options: bytes, end: bytes) -> None:
    """Twin and removal together replace the key and nothing else: options, comment, neighbours and line ends stay."""
    before, after = f"{OPERATOR.public_line}\n".encode(), f"{GUEST.public_line}".encode()
    old = before + options + OLD.public_line.encode() + (end or b"\n") + after
    twin = plan_twin(old, OLD.blob_base64, NEW.algorithm, NEW.blob_base64)
    assert isinstance(twin, Change) and twin.is_changed
    again = plan_twin(twin.new, OLD.blob_base64, NEW.algorithm, NEW.blob_base64)
    assert isinstance(again, Change) and not again.is_changed
    former = read_line(OLD.public_line.encode()).blob
    result = plan_removal(twin.new, lambda line: line.blob == former, {NEW.blob_base64})
    assert isinstance(result, Change)
    assert result.new == old.replace(OLD.blob_base64.encode(), NEW.blob_base64.encode())


def test_a_key_without_a_line_has_no_twin() -> None:
    """Where the present key stands elsewhere the operator is asked, not the file guessed."""
    result = plan_twin(OPERATOR.public_line.encode(), OLD.blob_base64, NEW.algorithm, NEW.blob_base64)
    assert isinstance(result, Refusal) and result.reason == "no_own_line"
