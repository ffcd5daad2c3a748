"""What an authorized_keys file should be: old bytes and wanted grants in, new bytes or refusals out. Pure.

Rules, each for a measured reason:

* bytes only, split at line feeds only; every line that is not ours stays as it is, NUL, BOM, CR and all;
* ours is a key line whose comment ends in ``{holder} grant={id} exp={unix}``, optionally followed by `` nl``:
  then the line feed before the line is ours too, because the file had no final one, and goes away with the line;
* new lines are appended, never put before the operator's: sshd takes the first line that fits, so a validator
  that hands in the operator's key could otherwise restrict the operator's own login;
* a renewal rewrites our line where it stands: its neighbours do not move, and no reader ever sees the key absent;
* a key that the operator, the engine or another holder uses is refused: sshd lets any valid line win, so it could
  never be taken back.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from engine.ssh.keylines import GRANT_ID, SS58, KeyLine, LineKind, read_line

MAX_FILE_BYTES = 1 << 20
EXPIRY_TOLERANCE_S = 30
"""A line whose expiry text differs by less than this from the wanted one is left alone: clocks are read afresh
at every visit, and rewriting files for a second of difference helps nobody."""

_EXPIRY_TEXT = re.compile(r"[0-9]{8}(?:[0-9]{4}(?:[0-9]{2})?)?Z?")
_HOLDER_TEXT = re.compile(r"validator-" + SS58.decode() + r"|renter-[A-Za-z0-9._-]{1,64}")
_GRANT_TEXT = re.compile(GRANT_ID.decode())
_ALGORITHM_TEXT = re.compile(r"[a-z0-9@.-]{1,64}")


@dataclass(frozen=True, slots=True)
class WantedKey:
    """One grant as it should stand in the file.

    ``holder`` is ``validator-{ss58}`` or ``renter-{id}``; ``expiry_text`` is the node's own form of the deadline
    (``engine.ssh.capability.expiry_texts``), empty for a node that knows none.
    """

    grant_id: str
    holder: str
    algorithm: str
    blob_base64: str
    expires_at_unix: int
    expiry_text: str = ""

    @property
    def blob(self) -> bytes:
        """The decoded key."""
        return base64.b64decode(self.blob_base64)

    def render(self, *, added_newline: bool = False) -> bytes:
        """Our line without its line feed. ValueError when a field could say more than it should."""
        for pattern, text in (
            (_HOLDER_TEXT, self.holder),
            (_GRANT_TEXT, self.grant_id),
            (_ALGORITHM_TEXT, self.algorithm),
            (_EXPIRY_TEXT, self.expiry_text or "20000101"),
        ):
            if not pattern.fullmatch(text):
                raise ValueError(f"not fit for a key line: {text!r}")
        blob = base64.b64encode(base64.b64decode(self.blob_base64, validate=True)).decode("ascii")
        options = "restrict,pty" + (f',expiry-time="{self.expiry_text}"' if self.expiry_text else "")
        newline = " nl" if added_newline else ""
        marker = f"{self.holder} grant={self.grant_id} exp={self.expires_at_unix:d}{newline}"
        return f"{options} {self.algorithm} {blob} {marker}".encode("ascii")


@dataclass(frozen=True, slots=True)
class RefusedKey:
    """A wanted key that was not written; any line of its grant is taken out. ``reason``: ``operator_key``,
    ``own_key``, ``key_of_another_holder``."""

    grant_id: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Change:
    """The file as it should be. Ids are grant ids; the tuples are empty when nothing of the kind happened."""

    new: bytes
    is_changed: bool
    added: tuple[str, ...] = ()
    renewed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    refused: tuple[RefusedKey, ...] = ()
    leftovers_removed: int = 0
    never_expiring: tuple[str, ...] = ()
    """Grants whose key also stands in a leftover of the deployed miner without expiry: that line wins."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The file cannot be changed safely at all. ``reason``: ``too_large``, ``own_key_lost``, ``self_check``."""

    reason: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Every line by kind, in the order of the file."""

    lines: tuple[KeyLine, ...]

    def of(self, kind: LineKind) -> tuple[KeyLine, ...]:
        """The lines of one kind."""
        return tuple(line for line in self.lines if line.kind is kind)

    @property
    def ours(self) -> tuple[KeyLine, ...]:
        """Lines with a grant marker, of this engine or another."""
        return self.of(LineKind.OURS)

    @property
    def leftovers(self) -> tuple[KeyLine, ...]:
        """Key lines that the deployed miner left: their last word is ``validator-…``."""
        return self.of(LineKind.LEFTOVER)

    @property
    def operator(self) -> tuple[KeyLine, ...]:
        """Every other key line."""
        return self.of(LineKind.OPERATOR)

    def orphans(self, known_ids: Collection[str]) -> tuple[KeyLine, ...]:
        """Lines with a grant marker whose grant is not known here."""
        return tuple(line for line in self.ours if line.grant_id not in known_ids)

    def unexplained(self, baseline: Collection[bytes]) -> tuple[KeyLine, ...]:
        """Operator lines whose key is not in the baseline of decoded keys: perhaps added by a guest."""
        return tuple(line for line in self.operator if line.blob not in baseline)


def inventory(old: bytes) -> Inventory:
    """Classify every line of a file."""
    return Inventory(tuple(read_line(raw) for raw in split(old)[0]))


def split(data: bytes) -> tuple[list[bytes], bool]:
    """Lines without their line feeds, and whether the last one had one. An empty file has none and is complete."""
    if not data:
        return [], True
    lines = data.split(b"\n")
    if lines[-1] == b"":
        return lines[:-1], True
    return lines, False


def plan_change(
    old: bytes,
    wanted: Sequence[WantedKey],
    own_blobs: Collection[str] = (),
    *,
    managed_ids: Collection[str] = (),
    expired_before_unix: int | None = None,
    remove_leftovers: bool = False,
) -> Change | Refusal:
    """Make the file hold exactly one line per wanted key and none of the other ``managed_ids``.

    ``own_blobs`` are the base64 keys that the engine logs in with. Markers of unknown grants stay, except those
    that expired before ``expired_before_unix``, and those of the same holder and key as a wanted one, which are
    replaced. One key's refusal does not keep the others from being written or removed.
    """
    if len(old) > MAX_FILE_BYTES:
        return _too_large(len(old))
    own = {base64.b64decode(blob) for blob in own_blobs}
    lines = [read_line(raw) for raw in split(old)[0]]
    managed = {one.grant_id for one in wanted} | set(managed_ids)
    accepted, refused = _judge(lines, wanted, own, managed)
    editor = _Editor(lines, has_final_newline=split(old)[1])
    change = editor.apply(accepted, managed, expired_before_unix)
    leftovers = editor.remove_leftovers(own) if remove_leftovers else 0
    new = editor.render()
    if len(new) > MAX_FILE_BYTES:
        return _too_large(len(new))
    after = {line.blob for line in inventory(new).lines if line.is_key}
    if any(blob not in after for blob in own & {line.blob for line in lines if line.is_key}):
        return Refusal(
            "own_key_lost",
            "the change would remove the key that the engine logs in with",
            "give the engine's own key line a comment that does not look like a validator's",
        )
    if not remove_leftovers and _foreign(lines) != _foreign(inventory(new).lines):
        return Refusal("self_check", "the planned change would touch lines that are not ours")
    stale = {line.blob for line in inventory(new).leftovers}
    return Change(
        new,
        new != old,
        *change,
        refused=tuple(refused),
        leftovers_removed=leftovers,
        never_expiring=tuple(one.grant_id for one in accepted if one.blob in stale),
    )


def _too_large(size: int) -> Refusal:
    return Refusal(
        "too_large",
        f"authorized_keys would be {size} bytes, the limit is {MAX_FILE_BYTES}",
        "clean the file up by hand",
    )


def _foreign(lines: Sequence[KeyLine]) -> list[bytes]:
    return [line.raw for line in lines if line.kind is not LineKind.OURS]


def _judge(
    lines: Sequence[KeyLine], wanted: Sequence[WantedKey], own: Collection[bytes], managed: Collection[str]
) -> tuple[list[WantedKey], list[RefusedKey]]:
    """Sort the wanted keys into those that may be written and those that must not."""
    accepted: dict[str, WantedKey] = {}
    refused = []
    holders: dict[bytes, str] = {}
    for line in lines:
        # A managed line says nothing about other holders: it is about to be rewritten or removed.
        if line.kind is LineKind.OURS and line.grant_id not in managed:
            holders[line.blob] = line.holder
        if line.kind is LineKind.LEFTOVER and line.holder != "validator-validator":
            holders[line.blob] = line.holder
    foreign = [line for line in lines if line.kind in {LineKind.OPERATOR, LineKind.INVALID}]
    for one in wanted:
        text = one.blob_base64.rstrip("=").encode("ascii")
        if one.blob in own:
            refused.append(RefusedKey(one.grant_id, "own_key", "the key is the one that the engine logs in with"))
        elif any(line.blob == one.blob or text in line.raw for line in foreign):
            refused.append(
                RefusedKey(one.grant_id, "operator_key", "the key already stands in one of the operator's lines")
            )
        elif holders.setdefault(one.blob, one.holder) != one.holder:
            refused.append(RefusedKey(one.grant_id, "key_of_another_holder", "the key belongs to another holder"))
        else:
            accepted[one.grant_id] = one
    return list(accepted.values()), refused


@dataclass(slots=True, eq=False)
class _Slot:
    """One line in work; ``line`` None when it is gone, ``wanted`` set when it is ours and (re)written."""

    line: KeyLine | None
    raw: bytes
    added_newline: bool
    wanted: WantedKey | None = None


class _Editor:
    """The lines of one file while they are changed."""

    def __init__(self, lines: Sequence[KeyLine], *, has_final_newline: bool) -> None:
        self._slots = [_Slot(line, line.raw, line.added_newline) for line in lines]
        self._has_final_newline = has_final_newline

    def apply(
        self, accepted: Sequence[WantedKey], managed: Collection[str], expired_before: int | None
    ) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Rewrite, drop and append; returns added, renewed, removed and unchanged grant ids."""
        by_id = {one.grant_id: one for one in accepted}
        by_key = {(one.holder, one.blob): one for one in accepted}
        renewed, removed, unchanged, placed = [], [], [], set()
        exact = {slot.line.grant_id for slot in self._slots if slot.line and slot.line.kind is LineKind.OURS}
        for slot in list(self._slots):
            line = slot.line
            if line is None or line.kind is not LineKind.OURS:
                continue
            one = by_id.get(line.grant_id)
            if one is None and line.grant_id not in managed:
                # Our own line of a lost database: same holder, same key. It would outlive the new grant.
                one = by_key.get((line.holder, line.blob))
                if one is None:
                    if expired_before is not None and line.expires_at_unix < expired_before:
                        removed.append(line.grant_id)
                        self._drop(slot)
                    continue
                if one.grant_id in exact:
                    removed.append(line.grant_id)
                    self._drop(slot)
                    continue
            if one is None or one.grant_id in placed:
                if line.grant_id not in placed:
                    removed.append(line.grant_id)
                self._drop(slot)
                continue
            placed.add(one.grant_id)
            if _is_current(line, one):
                unchanged.append(one.grant_id)
            else:
                renewed.append(one.grant_id)
                slot.wanted = one
        added = [one for one in accepted if one.grant_id not in placed]
        for one in added:
            self._slots.append(_Slot(None, b"", not self._has_final_newline, one))
            self._has_final_newline = True
        self._tidy()
        return tuple(one.grant_id for one in added), tuple(renewed), tuple(dict.fromkeys(removed)), tuple(unchanged)

    def remove_leftovers(self, own: Collection[bytes]) -> int:
        """Take out the deployed miner's lines, except one that holds the engine's own key."""
        stale = [
            slot
            for slot in self._slots
            if slot.line and slot.line.kind is LineKind.LEFTOVER and slot.line.blob not in own
        ]
        for slot in stale:
            self._drop(slot)
        self._tidy()
        return len(stale)

    def render(self) -> bytes:
        """The file's bytes."""
        lines = [one.wanted.render(added_newline=one.added_newline) if one.wanted else one.raw for one in self._slots]
        data = b"\n".join(lines)
        return data + b"\n" if lines and self._has_final_newline else data

    def _drop(self, slot: _Slot) -> None:
        """Remove a line and one line feed, so that the line feed before it is kept if and only if it was not ours."""
        index = self._slots.index(slot)
        del self._slots[index]
        if index < len(self._slots):
            following = self._slots[index]
            following.added_newline = slot.added_newline and self._is_ours(following)
        else:
            self._has_final_newline = not slot.added_newline

    def _tidy(self) -> None:
        """Lines that inherited a line feed are rewritten with the note."""
        for slot in self._slots:
            if slot.line and slot.line.kind is LineKind.OURS and slot.wanted is None:
                if slot.added_newline == slot.line.added_newline:
                    continue
                note = b" nl" if slot.added_newline else b""
                slot.raw = re.sub(rb"( nl)?[ \t\r]*$", note, slot.line.raw)

    @staticmethod
    def _is_ours(slot: _Slot) -> bool:
        return slot.wanted is not None or (slot.line is not None and slot.line.kind is LineKind.OURS)


def _is_current(line: KeyLine, wanted: WantedKey) -> bool:
    """Whether the line on the node already says what is wanted, give or take a second of clock reading."""
    if line.grant_id != wanted.grant_id or line.holder != wanted.holder or line.blob != wanted.blob:
        return False
    if line.expires_at_unix != wanted.expires_at_unix or line.algorithm != wanted.algorithm:
        return False
    same = WantedKey(
        wanted.grant_id, wanted.holder, wanted.algorithm, wanted.blob_base64, wanted.expires_at_unix, line.expiry_text
    )
    if line.raw != same.render(added_newline=line.added_newline):
        return False
    return line.expiry_text == wanted.expiry_text or _is_near(line.expiry_text, wanted.expiry_text)


def _is_near(one: str, other: str) -> bool:
    if one.endswith("Z") != other.endswith("Z"):
        return False
    try:
        times = [datetime.strptime(text.rstrip("Z"), "%Y%m%d%H%M%S") for text in (one, other)]  # noqa: DTZ007  # only their difference
    except ValueError:
        return False
    return abs((times[0] - times[1]).total_seconds()) < EXPIRY_TOLERANCE_S
