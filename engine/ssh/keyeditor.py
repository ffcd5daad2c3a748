"""Our lines among the others: rendered, replaced, dropped and appended. Pure; ``authorized_keys`` holds the rules."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from engine.ssh import session_wrapper
from engine.ssh.keylines import AUTHORITY_HOLDER, GRANT_ID, SS58, KeyLine, LineKind

EXPIRY_TOLERANCE_S = 30
"""A line whose expiry text differs by less than this from the wanted one is left alone: clocks are read afresh
at every visit, and rewriting files for a second of difference helps nobody."""

_EXPIRY_TEXT = re.compile(r"[0-9]{8}(?:[0-9]{4}(?:[0-9]{2})?)?Z?")
_HOLDER_TEXT = re.compile(
    r"validator-" + SS58.decode() + r"|" + re.escape(AUTHORITY_HOLDER) + r"|renter-[A-Za-z0-9._-]{1,64}"
)
_GRANT_TEXT = re.compile(GRANT_ID.decode())
_ALGORITHM_TEXT = re.compile(r"[a-z0-9@.-]{1,64}")


@dataclass(frozen=True, slots=True)
class WantedKey:
    """One grant as it should stand in the file.

    ``holder`` is ``validator-{ss58}`` or ``renter-{id}``; ``expiry_text`` is the node's own form of the deadline
    (``engine.ssh.capability.deadlines``), empty for a node that knows none. With ``session_deadline_unix``, in the
    node's time, the line carries the forced command of ``engine.ssh.session_wrapper``.
    """

    grant_id: str
    holder: str
    algorithm: str
    blob_base64: str
    expires_at_unix: int
    expiry_text: str = ""
    session_deadline_unix: int | None = None
    guests: tuple[tuple[str, int], ...] = ()

    @property
    def command(self) -> str:
        """The option with the forced command; empty for a session that is not wrapped."""
        if self.session_deadline_unix is None:
            return ""
        return session_wrapper.option(self.grant_id, self.session_deadline_unix)

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
            *((_GRANT_TEXT, grant_id) for grant_id, _ in self.guests),
        ):
            if not pattern.fullmatch(text):
                raise ValueError(f"not fit for a key line: {text!r}")
        blob = base64.b64encode(base64.b64decode(self.blob_base64, validate=True)).decode("ascii")
        options = self._trust + "restrict,pty" + (f',expiry-time="{self.expiry_text}"' if self.expiry_text else "")
        options += f",{self.command}" if self.command else ""
        newline = " nl" if added_newline else ""
        ends = "".join(f"{grant_id}={end:d} " for grant_id, end in self.guests)
        marker = f"{ends}{self.holder} grant={self.grant_id} exp={self.expires_at_unix:d}{newline}"
        return f"{options} {self.algorithm} {blob} {marker}".encode("ascii")

    @property
    def _trust(self) -> str:
        names = ",".join(principal_of(grant_id) for grant_id, _ in self.guests)
        return f'cert-authority,principals="{names}",' if names else ""


def principal_of(grant_id: str) -> str:
    """The name that a certificate for this grant must carry."""
    return f"basilica-{grant_id}"


@dataclass(slots=True, eq=False)
class _Slot:
    """One line in work; ``line`` None when it is gone, ``wanted`` set when it is ours and (re)written."""

    line: KeyLine | None
    raw: bytes
    added_newline: bool
    wanted: WantedKey | None = None


class LineEditor:
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
            if one is None and line.grant_id not in managed and (struck := _struck(line, managed)):
                removed += struck
                self._strike(slot, line, managed)
                continue
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
            one = _not_put_off(line, one)
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
        return self.remove(lambda line: line.kind is LineKind.LEFTOVER and line.blob not in own)

    def remove(self, doomed: Callable[[KeyLine], bool]) -> int:
        """Take out the lines that ``doomed`` names; returns how many."""
        stale = [slot for slot in self._slots if slot.line and doomed(slot.line)]
        for slot in stale:
            self._drop(slot)
        self._tidy()
        return len(stale)

    def render(self) -> bytes:
        """The file's bytes."""
        lines = [one.wanted.render(added_newline=one.added_newline) if one.wanted else one.raw for one in self._slots]
        data = b"\n".join(lines)
        return data + b"\n" if lines and self._has_final_newline else data

    def _strike(self, slot: _Slot, line: KeyLine, managed: Collection[str]) -> None:
        """Take guests off an authority's line that stands otherwise as it is."""
        left = tuple(guest for guest in line.guests if guest[0] not in managed)
        if not left:
            self._drop(slot)
            return
        slot.wanted = WantedKey(
            line.grant_id,
            line.holder,
            line.algorithm,
            base64.b64encode(line.blob).decode("ascii"),
            line.expires_at_unix,
            line.expiry_text,
            guests=left,
        )

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


def _not_put_off(line: KeyLine, wanted: WantedKey) -> WantedKey:
    """The wanted line without a later end than the one that stands there, as long as the grant's own end is the same.

    The end in the node's time is what is left by our clock. When that is set back more seems to be left, and the key
    would outlive its time by as much.
    """
    if line.expires_at_unix != wanted.expires_at_unix or line.blob != wanted.blob:
        return wanted
    there, deadline = _time_of(line.expiry_text), _time_of(wanted.expiry_text)
    same_form = line.expiry_text.endswith("Z") == wanted.expiry_text.endswith("Z")
    if same_form and there is not None and deadline is not None and there < deadline:
        wanted = replace(wanted, expiry_text=line.expiry_text)
    if line.session_deadline_unix is not None and wanted.session_deadline_unix is not None:
        wanted = replace(wanted, session_deadline_unix=min(line.session_deadline_unix, wanted.session_deadline_unix))
    return wanted


def _struck(line: KeyLine, managed: Collection[str]) -> list[str]:
    return [grant_id for grant_id, _ in line.guests if grant_id in managed]


def _is_current(line: KeyLine, wanted: WantedKey) -> bool:
    """Whether the line on the node already says what is wanted, give or take a second of clock reading."""
    if line.grant_id != wanted.grant_id or line.holder != wanted.holder or line.blob != wanted.blob:
        return False
    if line.expires_at_unix != wanted.expires_at_unix or line.algorithm != wanted.algorithm:
        return False
    there, deadline = line.session_deadline_unix, wanted.session_deadline_unix
    if (there is None) != (deadline is None) or abs((there or 0) - (deadline or 0)) >= EXPIRY_TOLERANCE_S:
        return False
    if not _has_guests(line, wanted):
        return False
    same = replace(wanted, expiry_text=line.expiry_text, session_deadline_unix=there, guests=line.guests)
    if line.raw != same.render(added_newline=line.added_newline):
        return False
    return line.expiry_text == wanted.expiry_text or _is_near(line.expiry_text, wanted.expiry_text)


def _has_guests(line: KeyLine, wanted: WantedKey) -> bool:
    if [grant_id for grant_id, _ in line.guests] != [grant_id for grant_id, _ in wanted.guests]:
        return False
    pairs = zip(line.guests, wanted.guests, strict=True)
    return all(abs(old - new) < EXPIRY_TOLERANCE_S for (_, old), (_, new) in pairs)


def _is_near(one: str, other: str) -> bool:
    times = _time_of(one), _time_of(other)
    if one.endswith("Z") != other.endswith("Z") or times[0] is None or times[1] is None:
        return False
    return abs((times[0] - times[1]).total_seconds()) < EXPIRY_TOLERANCE_S


def _time_of(text: str) -> datetime | None:
    try:
        return datetime.strptime(text.rstrip("Z"), "%Y%m%d%H%M%S")  # noqa: DTZ007  # only compared with its like
    except ValueError:
        return None
