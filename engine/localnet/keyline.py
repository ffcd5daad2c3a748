"""Who may log in, judged from the text of authorized_keys as OpenSSH's sshd judges it.

Pure: bytes, a key, a time and an address in; ``Allowed`` or ``Denied`` out. asyncssh's own reader lets expired
keys and unknown options pass, so the stand-in nodes must not use it. Measured against OpenSSH 8.2 to 10.5.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo

from engine.localnet.peer_patterns import is_peer_listed

_BLANKS = " \t"
_KEY_TYPES = frozenset(
    {
        "ssh-ed25519",
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)
PERMISSIONS = frozenset({"pty", "port-forwarding", "agent-forwarding", "x11-forwarding", "user-rc"})
_HARMLESS = frozenset({"no-touch-required", "touch-required", "verify-required", "no-verify-required"})
_FLAG = re.compile(r"[A-Za-z0-9-]+")
_TARGET = re.compile(r"(?:\[[^\]]+\]|[^:\[\]]+):(?:\*|\d{1,5})")
_TUNNEL = re.compile(r"any|\d+")
_ENVIRONMENT = re.compile(r"[A-Za-z0-9_]+=.*", re.DOTALL)
_EXPIRY = re.compile(r"(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(z|utc)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LineOptions:
    """What stands before the key. ``expires_at`` is Unix seconds, the earliest of several.

    ``permits`` holds those of ``PERMISSIONS`` that the line leaves to the key.
    """

    command: str | None = None
    sources: str | None = None
    expires_at: float | None = None
    cert_authority: bool = False
    principals: str | None = None
    permits: frozenset[str] = PERMISSIONS


@dataclass(frozen=True, slots=True)
class Allowed:
    """The key opens the account; ``line`` counts from 1."""

    options: LineOptions
    line: int


@dataclass(frozen=True, slots=True)
class Denied:
    """The key does not open the account.

    ``reason``: no_line, bad_options, expired, source or certificate_only; of the last line that names the key.
    """

    reason: str
    detail: str = ""


class LineError(ValueError):
    """The options of a line cannot be used, so that the whole line is void."""


def judge(
    content: bytes, algorithm: str, blob: bytes, *, now: float, peer: str, zone: tzinfo = UTC
) -> Allowed | Denied:
    """Whether ``content`` (a whole authorized_keys) lets the key in from the address ``peer`` at ``now``.

    The first line that is good in every respect wins, wherever it stands. ``zone`` is the node's own time zone, in
    which an expiry without ``Z`` is read.
    """
    verdict: Allowed | Denied = Denied("no_line")
    for number, options_text in _lines_with(content, algorithm, blob):
        try:
            options = parse_options(options_text, zone)
        except LineError as problem:
            verdict = Denied("bad_options", f"line {number}: {problem}")
            continue
        verdict = _judge_line(options, number, now, peer)
        if isinstance(verdict, Allowed):
            break
    return verdict


def _judge_line(options: LineOptions, number: int, now: float, peer: str) -> Allowed | Denied:
    if options.cert_authority or options.principals is not None:
        return Denied("certificate_only", f"line {number}")
    if options.expires_at is not None and options.expires_at < now:
        return Denied("expired", f"line {number}")
    if options.sources is not None and not is_peer_listed(peer, options.sources):
        return Denied("source", f"line {number}: {peer} is not listed in from=")
    return Allowed(options, number)


def _lines_with(content: bytes, algorithm: str, blob: bytes) -> Iterator[tuple[int, str]]:
    """Number and options text of every line that holds this key. sshd ends lines at LF only, and at a NUL."""
    for number, raw in enumerate(content.split(b"\n"), start=1):
        line = raw.split(b"\0", 1)[0].decode("latin-1").lstrip(_BLANKS)
        if not line or line.startswith("#"):
            continue
        options_text, rest = "", line
        if _read_key(rest) is None:
            end = _options_end(line)
            options_text, rest = line[:end], line[end:].lstrip(_BLANKS)
        if _read_key(rest) == (algorithm, blob):
            yield number, options_text


def _read_key(text: str) -> tuple[str, bytes] | None:
    words = re.split(r"[ \t]+", text, maxsplit=2)
    if len(words) < 2 or words[0] not in _KEY_TYPES:
        return None
    try:
        return words[0], base64.b64decode("".join(words[1].split()), validate=True)
    except binascii.Error:
        return None


def _options_end(line: str) -> int:
    quoted, at = False, 0
    while at < len(line) and (quoted or line[at] not in _BLANKS):
        if line.startswith('\\"', at):
            at += 1
        elif line[at] == '"':
            quoted = not quoted
        at += 1
    return at


def parse_options(text: str, zone: tzinfo = UTC) -> LineOptions:
    """The options in ``text``, in order, as sshd reads them: ``restrict`` after ``pty`` takes the pty away again.

    Raises LineError for anything unknown, unquoted, twice or malformed.
    """
    options, rest = LineOptions(), text.lstrip(",")
    while rest:
        name, rest = _take_name(rest)
        if rest.startswith("="):
            value, rest = _take_quoted(name, rest[1:])
            options = _with_value(options, name, value, zone)
        else:
            options = _with_flag(options, name)
        if rest and not rest.startswith(","):
            raise LineError(f"unexpected text after {name}")
        rest = rest.lstrip(",")  # sshd skips empty places between commas
    return options


def _take_name(text: str) -> tuple[str, str]:
    match = _FLAG.match(text)
    if match is None:
        raise LineError("an option has no name")
    return match[0].lower(), text[match.end() :]


def _take_quoted(name: str, text: str) -> tuple[str, str]:
    if not text.startswith('"'):
        raise LineError(f"the value of {name} is not quoted")
    value, at = [], 1
    while at < len(text) and text[at] != '"':
        if text.startswith('\\"', at):
            at += 1
        value.append(text[at])
        at += 1
    if at >= len(text):
        raise LineError(f"the value of {name} has no closing quote")
    return "".join(value), text[at + 1 :]


def _with_flag(options: LineOptions, name: str) -> LineOptions:
    permission = name.removeprefix("no-")
    if name == "restrict":
        return replace(options, permits=frozenset())
    if name == "cert-authority":
        return replace(options, cert_authority=True)
    if permission in PERMISSIONS:
        given = {permission}
        return replace(options, permits=options.permits - given if name != permission else options.permits | given)
    if name in _HARMLESS:
        return options
    raise LineError(f"unknown option {name}")


def _with_value(options: LineOptions, name: str, value: str, zone: tzinfo) -> LineOptions:
    match name:
        case "command" if options.command is None:
            options = replace(options, command=value)
        case "from" if options.sources is None:
            options = replace(options, sources=value)
        case "principals" if options.principals is None:
            options = replace(options, principals=value)
        case "expiry-time":
            at = parse_expiry(value, zone)
            options = replace(options, expires_at=at if options.expires_at is None else min(at, options.expires_at))
        case _ if not _is_ignored(name, value):
            raise LineError(f"option {name} is unknown, malformed or there twice")
    return options


def _is_ignored(name: str, value: str) -> bool:
    """Well-formed options without effect here: nothing is forwarded, and PermitUserEnvironment is off by default."""
    match name:
        case "permitopen":
            return _is_target(value)
        case "permitlisten":
            return _is_target(value) or _is_target(f"*:{value}")
        case "tunnel":
            return _TUNNEL.fullmatch(value) is not None
        case "environment":
            return _ENVIRONMENT.fullmatch(value) is not None
    return False


def _is_target(value: str) -> bool:
    port = value.rpartition(":")[2]
    return _TARGET.fullmatch(value) is not None and (port == "*" or 0 < int(port) < 65536)


def parse_expiry(text: str, zone: tzinfo = UTC) -> float:
    """Unix seconds of ``YYYYMMDD[HHMM[SS]]``, in ``zone`` unless suffixed ``Z``. Raises LineError."""
    match = _EXPIRY.fullmatch(text)
    if match is None or not text.isascii():
        raise LineError("invalid expiry-time")
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour <= 23 and minute <= 59 and second <= 60):
        raise LineError("invalid expiry-time")
    try:
        # Like strptime and mktime, 31 April is 1 May and second 60 the next minute.
        local = datetime(year, month, 1, hour, minute, tzinfo=UTC if match[7] else zone)
        at = (local + timedelta(days=day - 1, seconds=second)).timestamp()
    except (ValueError, OverflowError) as problem:
        raise LineError("invalid expiry-time") from problem
    if at <= 0:
        raise LineError("invalid expiry-time")
    return at
