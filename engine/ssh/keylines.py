"""One line of an authorized_keys file: what it is and whose. Bytes in, facts out; nothing here writes.

A line is read as sshd reads it: blanks, then a key, or options (quotes respected), blanks and a key.
"""

from __future__ import annotations

import base64
import binascii
import enum
import re
from dataclasses import dataclass

from engine.ssh import session_wrapper

SS58 = rb"[1-9A-HJ-NP-Za-km-z]{46,48}"
GRANT_ID = rb"[A-Za-z0-9_-]{1,64}"
AUTHORITY_HOLDER = "validator-ca"
"""Whose line the authority's is: like every other of ours it begins with the tag that deployed miners remove."""
_HOLDER = rb"(?:validator-" + SS58 + rb"|" + AUTHORITY_HOLDER.encode() + rb"|renter-[A-Za-z0-9._-]{1,64})"
_MARKER = re.compile(
    rb"(?:^|[ \t])(?P<holder>" + _HOLDER + rb") grant=(?P<grant>" + GRANT_ID + rb") exp=(?P<exp>[0-9]{1,12})"
    rb"(?P<newline> nl)?[ \t\r]*$"
)
_LEFTOVER = re.compile(rb"(?:^|[ \t])validator-(?P<who>[A-Za-z0-9_.-]+)[ \t\r]*$")
_KEY = re.compile(
    rb"(?P<algorithm>(?:ssh|ecdsa-sha2|sk-ssh|sk-ecdsa-sha2|webauthn)-[A-Za-z0-9@.-]+)[ \t]+"
    rb"(?P<blob>[A-Za-z0-9+/]+={0,3})(?:[ \t]+(?P<comment>.*))?$",
    re.DOTALL,
)
_GUEST = re.compile(rb"(?:^|[ \t])(?P<grant>" + GRANT_ID + rb")=(?P<end>[0-9]{1,12})(?=[ \t])")
_EXPIRY = re.compile(rb'(?:^|,)expiry-time="(?P<text>[0-9Z]{8,15})"', re.IGNORECASE)


class LineKind(enum.Enum):
    """Whose line it is."""

    OURS = "ours"
    LEFTOVER = "leftover"
    OPERATOR = "operator"
    COMMENT = "comment"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class KeyLine:
    """One physical line without its line feed. Fields that its kind does not have are empty."""

    raw: bytes
    kind: LineKind
    algorithm: str = ""
    blob: bytes = b""
    """The decoded key; text forms of one key may differ in padding bits."""
    comment: bytes = b""
    holder: str = ""
    """``validator-{ss58}`` or ``renter-{id}``; of a leftover its last word."""
    grant_id: str = ""
    expires_at_unix: int = 0
    expiry_text: str = ""
    added_newline: bool = False
    """The marker says that the line feed before this line is ours too."""
    session_deadline_unix: int | None = None
    """When the forced command of one of our lines ends sessions, in the node's time; None without one."""
    options: bytes = b""
    """What stands before the key, as it is written there."""
    guests: tuple[tuple[str, int], ...] = ()
    """Of the authority's line: each grant that may enter with a certificate, and its end in the node's time."""

    @property
    def is_key(self) -> bool:
        """Whether sshd would consider this line."""
        return self.kind in {LineKind.OURS, LineKind.LEFTOVER, LineKind.OPERATOR}


def read_line(raw: bytes) -> KeyLine:
    """Classify one line. A grant marker or a leftover's tag counts only at the very end of a parsed key's comment."""
    text = raw.lstrip(b" \t")
    if not text.strip(b" \t\r") or text.startswith(b"#"):
        return KeyLine(raw, LineKind.COMMENT)
    options = b""
    match = _KEY.match(text)
    if match is None:
        options, rest = _split_options(text)
        match = _KEY.match(rest)
    if match is None:
        return KeyLine(raw, LineKind.INVALID)
    try:
        blob = base64.b64decode(match["blob"] + b"=" * (-len(match["blob"]) % 4))
    except binascii.Error:
        return KeyLine(raw, LineKind.INVALID)
    algorithm, comment = match["algorithm"].decode("ascii"), match["comment"] or b""
    if marker := _MARKER.search(comment):
        expiry = _EXPIRY.search(options)
        is_authority = marker["holder"] == AUTHORITY_HOLDER.encode()
        return KeyLine(
            raw,
            LineKind.OURS,
            algorithm,
            blob,
            comment,
            marker["holder"].decode("ascii"),
            marker["grant"].decode("ascii"),
            int(marker["exp"]),
            expiry["text"].decode("ascii") if expiry else "",
            marker["newline"] is not None,
            session_wrapper.deadline_of(options),
            options,
            _guests(comment[: marker.start() + 1]) if is_authority else (),
        )
    if tag := _LEFTOVER.search(comment):
        holder = "validator-" + tag["who"].decode("ascii")
        return KeyLine(raw, LineKind.LEFTOVER, algorithm, blob, comment, holder, options=options)
    return KeyLine(raw, LineKind.OPERATOR, algorithm, blob, comment, options=options)


def _guests(words: bytes) -> tuple[tuple[str, int], ...]:
    return tuple((one["grant"].decode("ascii"), int(one["end"])) for one in _GUEST.finditer(words))


def _split_options(text: bytes) -> tuple[bytes, bytes]:
    """Cut at the first blank outside double quotes; a backslash hides a quote inside them."""
    quoted = False
    index = 0
    while index < len(text):
        char = text[index : index + 1]
        if char == b"\\" and text[index + 1 : index + 2] == b'"':
            index += 2
            continue
        if char == b'"':
            quoted = not quoted
        elif char in b" \t" and not quoted:
            return text[:index], text[index:].lstrip(b" \t")
        index += 1
    return text, b""
