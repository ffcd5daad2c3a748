"""The editor of authorized_keys, rule by rule and as a property over arbitrary bytes."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ssh.authorized_keys import (
    MAX_FILE_BYTES,
    Change,
    Refusal,
    WantedKey,
    inventory,
    plan_change,
    plan_removal,
    plan_twin,
)
from engine.ssh.keylines import LineKind, read_line

ALICE = "validator-5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"
BOB = "validator-5FHneW46xGXgs5mUiveU4sbTyGBzmstUspZC92UhjJM694ty"
EXPIRES = 1_800_000_000
TEXT = "20270115080000Z"


def blob(seed: str) -> str:
    """An Ed25519-shaped key blob made from a word."""
    raw = b"\0\0\0\x0bssh-ed25519\0\0\0 " + hashlib.sha256(seed.encode()).digest()
    return base64.b64encode(raw).decode()


def wanted(grant: str = "g1", holder: str = ALICE, seed: str = "", at: int = EXPIRES, text: str = TEXT) -> WantedKey:
    """A wanted key; its blob follows from the grant unless a seed is given."""
    return WantedKey(grant, holder, "ssh-ed25519", blob(seed or grant), at, text)


def key_line(seed: str, comment: str = "", options: str = "") -> bytes:
    """A key line as an operator would write it."""
    return " ".join(part for part in (options, "ssh-ed25519", blob(seed), comment) if part).encode()


OWN = key_line("own", "engine")
OWN_BLOBS = frozenset({blob("own")})


def change(old: bytes, *keys: WantedKey, managed: tuple[str, ...] = (), **settings: object) -> Change:
    """Plan and expect a change."""
    result = plan_change(old, keys, OWN_BLOBS, managed_ids=managed, **settings)  # type: ignore[arg-type]
    assert isinstance(result, Change)
    return result


def test_a_new_key_is_appended_after_the_operators_lines_with_restrictions_expiry_and_marker() -> None:
    """A grant's line stands last and says what it may do, until when, and whose it is."""
    done = change(OWN + b"\n", wanted())
    line = f'restrict,pty,expiry-time="{TEXT}" ssh-ed25519 {blob("g1")} {ALICE} grant=g1 exp={EXPIRES}\n'
    assert done.new == OWN + b"\n" + line.encode()
    assert (done.added, done.renewed, done.removed, done.refused) == (("g1",), (), (), ())


def test_a_node_without_expiry_gets_a_line_without_that_option() -> None:
    """An sshd that does not know expiry-time would reject the whole line, so the option is left out."""
    assert b"expiry-time" not in change(OWN + b"\n", wanted(text="")).new


def test_a_missing_final_newline_is_added_noted_and_taken_back_with_the_line() -> None:
    """The file is byte-equal after add and remove even when it did not end in a line feed."""
    added = change(OWN, wanted())
    assert added.new.startswith(OWN + b"\n") and added.new.endswith(b" nl\n")
    assert change(added.new, managed=("g1",)).new == OWN


def test_a_renewal_rewrites_the_line_where_it_stands() -> None:
    """Renewing changes one line and moves none."""
    first = change(OWN + b"\n", wanted("g1"), wanted("g2", BOB)).new
    operator = key_line("later", "added by the operator")
    second = change(first + operator + b"\n", wanted("g1", at=EXPIRES + 60, text="20270115080100Z"), wanted("g2", BOB))
    lines = second.new.splitlines()
    assert [line.grant_id for line in inventory(second.new).lines] == ["", "g1", "g2", ""]
    assert f"exp={EXPIRES + 60}".encode() in lines[1] and lines[3] == operator
    assert (second.renewed, second.unchanged, second.added) == (("g1",), ("g2",), ())


def test_nothing_changes_when_everything_is_in_place() -> None:
    """A second pass over the same grants leaves the bytes alone, also when the clock read a few seconds differently."""
    first = change(OWN + b"\n", wanted())
    again = change(first.new, wanted(text="20270115080004Z"))
    assert not again.is_changed and again.unchanged == ("g1",)
    moved = change(first.new, wanted(text="20270115070000Z"))
    assert moved.renewed == ("g1",), "an hour's difference is a wrong clock, not a rounding"


def test_an_end_is_put_off_by_a_renewal_alone() -> None:
    """A clock that was set back makes more time seem left: a line of the same grant's end never gets a later one."""
    first = change(OWN + b"\n", dataclasses.replace(wanted(), session_deadline_unix=EXPIRES)).new
    later = dataclasses.replace(wanted(text="20270115090000Z"), session_deadline_unix=EXPIRES + 3600)
    assert not change(first, later).is_changed
    assert change(first, dataclasses.replace(later, expires_at_unix=EXPIRES + 3600)).renewed == ("g1",)
    tampered = first.replace(TEXT.encode(), b"20990101000000Z")
    assert change(tampered, later).new.count(b"20270115090000Z") == 1, "what stands there is not believed"
    authority_there = change(OWN + b"\n", authority("g1")).new
    assert not change(authority_there, dataclasses.replace(authority("g1"), expiry_text="20270115090000Z")).is_changed


@pytest.mark.parametrize("text", ["20270115080000", ""])
def test_another_form_of_expiry_rewrites_the_line(text: str) -> None:
    """A node whose sshd was replaced gets lines in the form that it understands now."""
    first = change(OWN + b"\n", wanted())
    assert change(first.new, wanted(text=text)).renewed == ("g1",)


def test_a_duplicate_of_our_line_is_reduced_to_one() -> None:
    """However a second copy came into the file, one line per grant remains."""
    first = change(OWN + b"\n", wanted()).new
    doubled = first + first.splitlines()[1] + b"\n"
    assert change(doubled, wanted()).new == first


def test_a_tampered_line_of_ours_is_restored() -> None:
    """Options that somebody took off our line come back."""
    first = change(OWN + b"\n", wanted()).new
    assert change(first.replace(b"restrict,pty,", b""), wanted()).new == first


@pytest.mark.parametrize(
    ("old", "key", "reason"),
    [
        (OWN + b"\n", wanted(seed="own"), "own_key"),
        (b"\n", wanted(seed="own"), "own_key"),
        (OWN + b"\n" + key_line("g1", "me@home") + b"\n", wanted(), "operator_key"),
        (OWN + b"\n" + key_line("g1", "x", 'command="echo \\" hi",no-pty') + b"\n", wanted(), "operator_key"),
        (b"\xef\xbb\xbf" + key_line("g1", "after a byte order mark") + b"\n", wanted(), "operator_key"),
        (OWN + b"\n" + key_line("g1", f"{BOB} grant=other exp=1") + b"\n", wanted(), "key_of_another_holder"),
        (OWN + b"\n" + key_line("g1", BOB) + b"\n", wanted(), "key_of_another_holder"),
    ],
)
def test_a_key_that_somebody_else_uses_is_refused(old: bytes, key: WantedKey, reason: str) -> None:
    """A key that another valid line would keep alive, or that would restrict its owner, is never written."""
    done = change(old, key)
    assert [(one.grant_id, one.reason) for one in done.refused] == [("g1", reason)]
    assert done.new == old


def test_one_refused_key_does_not_keep_the_others_from_being_served() -> None:
    """A hostile validator cannot block the removal or renewal of other grants."""
    first = change(OWN + b"\n", wanted("old")).new
    done = change(first, wanted("bad", seed="own"), wanted("good", BOB), managed=("old",))
    assert (done.added, done.removed, [one.grant_id for one in done.refused]) == (("good",), ("old",), ["bad"])


def test_a_key_that_the_operator_adopts_later_loses_our_line() -> None:
    """Our restricted line must not stand before the operator's line of the same key."""
    first = change(OWN + b"\n", wanted()).new
    done = change(first + key_line("g1", "mine now") + b"\n", wanted())
    assert done.removed == ("g1",) and done.new == OWN + b"\n" + key_line("g1", "mine now") + b"\n"


def test_a_key_moves_to_another_holder_once_the_first_grant_has_ended() -> None:
    """An ended grant of ours does not reserve its key."""
    first = change(OWN + b"\n", wanted("g1", ALICE, "shared")).new
    done = change(first, wanted("g2", BOB, "shared"), managed=("g1",))
    assert (done.added, done.removed, done.refused) == (("g2",), ("g1",), ())


def test_two_holders_with_one_key_are_not_both_served() -> None:
    """The first holder keeps the key, the second is refused."""
    done = change(OWN + b"\n", wanted("g1", ALICE, "same"), wanted("g2", BOB, "same"))
    assert done.added == ("g1",) and [one.grant_id for one in done.refused] == ["g2"]


def test_lines_of_unknown_grants_stay_unless_expired_or_replaced() -> None:
    """Another engine's lines are left alone; expired ones go on request; the same holder's same key is taken over."""
    old = change(OWN + b"\n", wanted("foreign", BOB), wanted("lost", ALICE, "g1")).new
    assert change(old).new == old
    done = change(old, wanted("g1"))
    assert [line.grant_id for line in inventory(done.new).ours] == ["foreign", "g1"]
    assert change(old, expired_before_unix=EXPIRES + 1).new == OWN + b"\n"
    assert {line.grant_id for line in inventory(old).orphans({"lost"})} == {"foreign"}


def test_leftovers_of_the_deployed_miner_go_only_on_request_and_never_with_our_own_key() -> None:
    """Tags count as the last word only; the engine's own key stays even under such a tag."""
    lines = [
        key_line("own", "validator-engine"),
        key_line("a", ALICE),
        key_line("b", "validator-validator"),
        key_line("c", "ops@validator-box"),
        key_line("d", "validator-box of the office"),
        b"# validator-comment",
    ]
    old = b"\n".join(lines) + b"\n"
    assert change(old).new == old
    done = change(old, remove_leftovers=True)
    assert done.new.splitlines() == [lines[0], *lines[3:]] and done.leftovers_removed == 2
    assert len(inventory(old).leftovers) == 3


def test_a_leftover_with_the_same_key_is_reported_as_never_expiring() -> None:
    """As long as the deployed miner's line stands, our expiry says nothing; the caller is told."""
    old = OWN + b"\n" + key_line("g1", ALICE) + b"\n"
    assert change(old, wanted()).never_expiring == ("g1",)
    assert change(old, wanted(), remove_leftovers=True).never_expiring == ()


def test_files_over_the_limit_are_refused_before_and_after() -> None:
    """Neither an oversized file nor a change that would make one is planned."""
    for old in (b"#" * (MAX_FILE_BYTES + 1), b"#" * (MAX_FILE_BYTES - 10)):
        result = plan_change(old, [wanted()], OWN_BLOBS)
        assert isinstance(result, Refusal) and result.reason == "too_large"


def test_a_change_that_would_lock_the_engine_out_is_refused() -> None:
    """A grant's line that holds the engine's own key is not removed, whoever wrote it."""
    old = key_line("own", f"{ALICE} grant=g1 exp=1") + b"\n"
    result = plan_change(old, [], OWN_BLOBS, managed_ids=["g1"])
    assert isinstance(result, Refusal) and result.reason == "own_key_lost"


@pytest.mark.parametrize(
    "field", [{"holder": "validator-x"}, {"grant_id": "a b"}, {"expiry_text": '"'}, {"algorithm": "ssh rsa"}]
)
def test_fields_that_could_say_more_than_they_should_are_not_rendered(field: dict[str, str]) -> None:
    """Nothing but checked words ever becomes part of a line."""
    sound = WantedKey("g1", ALICE, "ssh-ed25519", blob("x"), 1)
    with pytest.raises(ValueError, match="not fit"):
        dataclasses.replace(sound, **field).render()  # type: ignore[arg-type]  # the fields named above are texts


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", LineKind.COMMENT),
        (b" \t\r", LineKind.COMMENT),
        (b"  # ssh-ed25519 " + blob("x").encode(), LineKind.COMMENT),
        (key_line("x"), LineKind.OPERATOR),
        (b"\t" + key_line("x", "tabbed\tcomment"), LineKind.OPERATOR),
        (key_line("x", "crlf") + b"\r", LineKind.OPERATOR),
        (key_line("x", "", 'from="10.0.0.1",command="say \\"a b\\""'), LineKind.OPERATOR),
        (key_line("x", "caf\xe9").replace(b"\xc3\xa9", b"\xe9"), LineKind.OPERATOR),
        (key_line("x", "with\0nul"), LineKind.OPERATOR),
        (b"hello world", LineKind.INVALID),
        (b"ssh-ed25519", LineKind.INVALID),
        (b'command="unbalanced ssh-ed25519 AAAA', LineKind.INVALID),
        (key_line("x", f"{ALICE} grant=g1 exp=5"), LineKind.OURS),
        (key_line("x", f"{ALICE} grant=g1 exp=5 nl"), LineKind.OURS),
        (key_line("x", f"{ALICE} grant=g1 exp=5") + b"\r", LineKind.OURS),
        (key_line("x", "renter-42 grant=g1 exp=5", "restrict"), LineKind.OURS),
        (key_line("x", f"{ALICE} grant=g1 exp=5 "), LineKind.OURS),
        (key_line("x", f"{ALICE} grant=g1 exp=5 or so"), LineKind.OPERATOR),
        (key_line("x", f"{ALICE} grant=g1"), LineKind.OPERATOR),
        (key_line("x", f"my{ALICE} grant=g1 exp=5"), LineKind.OPERATOR),
        (f"# {ALICE} grant=g1 exp=5".encode(), LineKind.COMMENT),
        (key_line("x", ALICE), LineKind.LEFTOVER),
        (key_line("x", "validator-validator"), LineKind.LEFTOVER),
        (key_line("x", "validator-abc at home"), LineKind.OPERATOR),
    ],
)
def test_lines_are_told_apart_as_sshd_reads_them(raw: bytes, kind: LineKind) -> None:
    """Only an exact marker at the end of a parsed key's comment makes a line ours."""
    assert read_line(raw).kind is kind


PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [
            b"\n",
            b"\n\n",
            b"\r\n",
            b"\0",
            b"\xef\xbb\xbf",
            b"\xff\xfe",
            b"# note\n",
            b"  ",
            b'command="',
            OWN,
            OWN + b"\n",
        ]
    ),
    st.sampled_from(["a", "b", "c"]).map(lambda seed: key_line(f"op-{seed}", "operator") + b"\n"),
    st.sampled_from(["a", "b"]).map(lambda seed: key_line(f"left-{seed}", BOB)),
)
FILES = st.lists(PIECES, max_size=8).map(b"".join)


@given(FILES)
def test_add_then_remove_gives_the_same_bytes(old: bytes) -> None:
    """For every file: adding a grant and removing it again leaves no trace."""
    assert change(change(old, wanted()).new, managed=("g1",)).new == old


@given(FILES, st.permutations(["g1", "g2", "g3"]), st.permutations(["g1", "g2", "g3"]))
def test_grants_come_and_go_in_any_order_without_a_trace(old: bytes, coming: list[str], going: list[str]) -> None:
    """For every file and every order of three grants: all in, one renewed, all out, same bytes."""
    holders = dict(zip(["g1", "g2", "g3"], itertools.cycle([ALICE, BOB]), strict=False))
    data, present = old, []
    for grant in coming:
        present.append(wanted(grant, holders[grant]))
        data = change(data, *present).new
        assert {line.grant_id for line in inventory(data).ours} == {one.grant_id for one in present}
    data = change(data, *present[:-1], wanted(coming[-1], holders[coming[-1]], at=EXPIRES + 9)).new
    for grant in going:
        present = [one for one in present if one.grant_id != grant]
        data = change(data, *present, managed=("g1", "g2", "g3")).new
    assert data == old


@given(FILES, FILES)
def test_what_an_operator_appends_meanwhile_stays(old: bytes, appended: bytes) -> None:
    """For every file and every later addition: the foreign lines are the same before and after a removal."""
    with_grant = change(old, wanted()).new
    after = change(with_grant + appended, managed=("g1",)).new
    foreign = [line.raw for line in inventory(with_grant + appended).lines if line.kind is not LineKind.OURS]
    assert [line.raw for line in inventory(after).lines] == foreign


@given(FILES)
def test_planning_twice_changes_nothing_the_second_time(old: bytes) -> None:
    """A plan's result is already what the plan wants."""
    keys = [wanted("g1"), wanted("g2", BOB)]
    assert not change(change(old, *keys).new, *keys).is_changed


def authority(*guests: str, at: int = EXPIRES, seed: str = "authority", grant: str = "ca-1") -> WantedKey:
    """The line that lets in certificates for these grants."""
    ends = tuple((one, at) for one in sorted(guests))
    return WantedKey(grant, "validator-ca", "ssh-ed25519", blob(seed), at, TEXT, guests=ends)


def guests_of(data: bytes) -> list[str]:
    """The grants that an authority's line lets in."""
    return [grant_id for line in inventory(data).ours for grant_id, _ in line.guests]


def test_an_authority_is_one_line_that_names_its_guests_and_their_ends() -> None:
    """Principals decide who enters, the comment says until when, and the marker makes the line ours."""
    done = change(OWN + b"\n", authority("g1", "g2"))
    principals = 'cert-authority,principals="basilica-g1,basilica-g2"'
    assert (
        done.new
        == OWN
        + b"\n"
        + (
            f'{principals},restrict,pty,expiry-time="{TEXT}" ssh-ed25519 {blob("authority")} '
            f"g1={EXPIRES} g2={EXPIRES} validator-ca grant=ca-1 exp={EXPIRES}\n"
        ).encode()
    )
    (line,) = inventory(done.new).ours
    assert line.guests == (("g1", EXPIRES), ("g2", EXPIRES)) and line.holder == "validator-ca"
    assert not change(done.new, authority("g1", "g2")).is_changed


@pytest.mark.parametrize(
    "other",
    [authority("g1"), authority("g1", "g2", "g3"), authority("g1", "g4"), authority("g1", "g2", at=EXPIRES + 60),
     authority("g1", "g2", seed="a new key")],
)  # fmt: skip
def test_an_authority_is_rewritten_in_place_when_anything_of_it_changes(other: WantedKey) -> None:
    """A guest more or less, another end or another key: still one line, where it stood."""
    first = change(OWN + b"\n", authority("g1", "g2")).new + key_line("later", "operator") + b"\n"
    done = change(first, other)
    assert [line.grant_id for line in inventory(done.new).lines] == ["", "ca-1", ""]
    assert inventory(done.new).ours[0].guests == other.guests and done.renewed == ("ca-1",)


def test_a_clock_read_again_does_not_rewrite_an_authority() -> None:
    """A few seconds of difference in a guest's end are the reading, not a change."""
    first = change(OWN + b"\n", authority("g1")).new
    again = dataclasses.replace(authority("g1"), guests=(("g1", EXPIRES + 4),))
    assert not change(first, again).is_changed


def test_ended_guests_are_struck_off_an_authority_that_is_not_rewritten() -> None:
    """Where new keys are refused, ending an access still takes its name off the line, and the last one the line."""
    first = change(OWN + b"\n", authority("g1", "g2")).new
    one_left = change(first, managed=("g2", "another"))
    assert guests_of(one_left.new) == ["g1"] and one_left.removed == ("g2",)
    assert change(one_left.new, managed=("g1",)).new == OWN + b"\n"


def test_a_guest_that_gets_a_line_of_its_own_leaves_the_authority_in_the_same_change() -> None:
    """Turning from certificates to keys, or back, never leaves a validator with both ways in."""
    certified = change(OWN + b"\n", authority("g1")).new
    plain = change(certified, wanted("g1"), managed=("ca-1",)).new
    assert [line.grant_id for line in inventory(plain).ours] == ["g1"]
    back = change(plain, authority("g1"), managed=("g1",)).new
    assert [line.grant_id for line in inventory(back).ours] == ["ca-1"] and guests_of(back) == ["g1"]


@pytest.mark.parametrize("guest", ['a"', "a b", "a,b", ""])
def test_a_guest_whose_name_could_say_more_is_not_rendered(guest: str) -> None:
    """A principal is a checked word like everything else in a line."""
    with pytest.raises(ValueError, match="not fit"):
        authority(guest).render()


GUESTS = st.sets(st.sampled_from(["g1", "g2", "g3", "g4"]))


@given(FILES, st.lists(st.tuples(GUESTS, GUESTS), min_size=1, max_size=6))
def test_whoever_enters_how_the_file_says_exactly_that(old: bytes, visits: list[tuple[set[str], set[str]]]) -> None:
    """For every file and history: keys and guests are those of the last visit, and in the end no trace is left."""
    holders = dict(zip(["g1", "g2", "g3", "g4"], itertools.cycle([ALICE, BOB]), strict=False))
    everything = ("g1", "g2", "g3", "g4", "ca-1")
    data = old
    for plain, certified in visits:
        lines = [wanted(one, holders[one]) for one in sorted(plain - certified)]
        data = change(data, *lines, *([authority(*certified)] if certified else []), managed=everything).new
        assert {line.grant_id for line in inventory(data).ours if not line.guests} == plain - certified
        assert set(guests_of(data)) == certified
    assert change(data, managed=everything).new == old


@given(FILES, GUESTS, GUESTS)
def test_striking_off_is_the_same_as_never_having_been_let_in(old: bytes, present: set[str], ended: set[str]) -> None:
    """For every file: what is left after some have ended is what the others alone would have."""
    with_all = change(old, *([authority(*present)] if present else [])).new
    struck = change(with_all, managed=tuple(ended)).new
    assert struck == change(old, *([authority(*(present - ended))] if present - ended else [])).new


@given(FILES, st.sampled_from(["op-a", "op-b", "left-a", "own", "nobody"]))
def test_taking_one_line_out_changes_no_other(old: bytes, seed: str) -> None:
    """For every file: a removal by hand takes exactly the named lines, or is refused for the engine's own key."""
    doomed = base64.b64decode(blob(seed))
    before = inventory(old).lines
    result = plan_removal(old, lambda line: line.blob == doomed, OWN_BLOBS)
    if isinstance(result, Refusal):
        assert seed == "own" and any(line.is_key and line.blob == doomed for line in before)
        return
    assert [line.raw for line in inventory(result.new).lines] == [
        line.raw for line in before if not (line.is_key and line.blob == doomed)
    ]


@given(FILES)
def test_a_new_key_of_the_engine_gets_the_lines_of_the_old_one(old: bytes) -> None:
    """For every file: the twin stands after each line of the present key, nothing else moves, and again is nothing."""
    result = plan_twin(old, blob("own"), "ssh-ed25519", blob("new"))
    before = [line.raw for line in inventory(old).lines]
    if isinstance(result, Refusal):
        assert result.reason == "no_own_line"
        return
    after = inventory(result.new).lines
    twins = [line for line in after if line.is_key and line.blob == base64.b64decode(blob("new"))]
    assert [line.raw for line in after if line not in twins] == before
    owned = [line for line in inventory(old).lines if line.is_key and line.blob == base64.b64decode(blob("own"))]
    assert len(twins) == len(owned) and [line.options for line in twins] == [line.options for line in owned]
    assert plan_twin(result.new, blob("own"), "ssh-ed25519", blob("new")) == Change(result.new, False)


@given(st.binary(max_size=600))
def test_no_bytes_break_the_reading_of_a_line(raw: bytes) -> None:
    """Whatever stands in a line, it has a kind, and its bytes are kept."""
    line = read_line(raw.replace(b"\n", b""))
    assert line.raw == raw.replace(b"\n", b"") and isinstance(line.kind, LineKind)
