"""The stand-in nodes judge authorized_keys as OpenSSH does."""

from __future__ import annotations

import base64
import calendar
import struct
from zoneinfo import ZoneInfo

import pytest

from engine.localnet.keyline import Allowed, Denied, LineError, judge, parse_expiry, parse_options
from engine.localnet.peer_patterns import is_peer_listed

NOW = float(calendar.timegm((2026, 11, 22, 12, 0, 0)))
ALGORITHM = "ssh-ed25519"


def blob_of(fill: int) -> bytes:
    return struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 32) + bytes([fill]) * 32


KEY = blob_of(7)
KEY_TEXT = f"{ALGORITHM} {base64.b64encode(KEY).decode()}"
OTHER_TEXT = f"{ALGORITHM} {base64.b64encode(blob_of(9)).decode()}"


def verdict(content: str | bytes, *, peer: str = "127.0.0.1", zone: str = "UTC") -> Allowed | Denied:
    raw = content.encode("latin-1") if isinstance(content, str) else content
    return judge(raw, ALGORITHM, KEY, now=NOW, peer=peer, zone=ZoneInfo(zone))


ALLOWED_PREFIXES = [
    "",
    "restrict",
    "RESTRICT,Pty",
    "restrict,pty,agent-forwarding",
    "no-port-forwarding,no-agent-forwarding,no-X11-forwarding,no-pty,no-user-rc",
    'expiry-time="20261122120001Z"',
    'expiry-time="20261122120000Z"',
    'EXPIRY-TIME="202611221201z"',
    'expiry-time="20261123Z"',
    'expiry-time="20261123"',
    'expiry-time="99991231235959Z"',
    'expiry-time="20400101"',
    'from="127.0.0.0/8"',
    'from="!10.0.0.0/8,127.0.0.?"',
    'command="echo \\"hi, there\\""',
    'environment="A=b"',
    'restrict,port-forwarding,permitopen="127.0.0.1:22022"',
    'permitopen="[::1]:*"',
    'permitlisten="localhost:8080"',
    'permitlisten="8080"',
    'tunnel="0"',
    "verify-required,no-touch-required",
    "restrict,",
    ",restrict",
    "restrict,,pty",
]
DENIED_PREFIXES = [
    ('expiry-time="20261122115959Z"', "expired"),
    ('expiry-time="20261122"', "expired"),
    ('expiry-time="20261123Z",expiry-time="20261121Z"', "expired"),
    ('expiry-time="20261121Z",expiry-time="20261123Z"', "expired"),
    ("expiry-time=20261123Z", "bad_options"),
    ('expiry-time="+1h"', "bad_options"),
    ('expiry-time="2026-12-01"', "bad_options"),
    ('expiry-time="always"', "bad_options"),
    ('expiry-time=""', "bad_options"),
    ('expiry-time="20261301"', "bad_options"),
    ('expiry-time="20261123+0000"', "bad_options"),
    ('expiry-time="2026112312Z"', "bad_options"),
    ("expiry-time", "bad_options"),
    ("restricted", "bad_options"),
    ("no-restrict", "bad_options"),
    ("frobnicate", "bad_options"),
    ('frobnicate="x"', "bad_options"),
    ('command="unbalanced', "no_line"),
    ('command="a",command="b"', "bad_options"),
    ('command="a"x', "bad_options"),
    ('permitopen="none"', "bad_options"),
    ('permitopen="host:70000"', "bad_options"),
    ('environment="no-equals-sign"', "bad_options"),
    ('environment="=x"', "bad_options"),
    ('tunnel="1:2"', "bad_options"),
    ('principals="x"', "certificate_only"),
    ('from="10.0.0.0/8"', "source"),
    ('from="127.0.0.1/8"', "source"),
    ('from=""', "source"),
    ('from="!127.0.0.1,127.0.0.0/8"', "source"),
    ("cert-authority", "certificate_only"),
    ('cert-authority,principals="x"', "certificate_only"),
]


@pytest.mark.parametrize("prefix", ALLOWED_PREFIXES)
def test_a_good_line_opens(prefix: str) -> None:
    """A key whose options are known and met gets in."""
    assert isinstance(verdict(f"{prefix} {KEY_TEXT} comment\n"), Allowed)


@pytest.mark.parametrize(("prefix", "reason"), DENIED_PREFIXES)
def test_a_bad_line_stays_shut(prefix: str, reason: str) -> None:
    """A key whose options are unknown, malformed or not met stays out, and the reason is named."""
    result = verdict(f"{prefix} {KEY_TEXT} comment\n")
    assert isinstance(result, Denied)
    assert result.reason == reason


@pytest.mark.parametrize(
    ("content", "opens"),
    [
        (b"", False),
        (b"\n\n# only a comment\n", False),
        (f"# {KEY_TEXT}\n".encode(), False),
        (f"{OTHER_TEXT}\n".encode(), False),
        (f"frobnicate {OTHER_TEXT}\n{KEY_TEXT}\n".encode(), True),
        (f"\t  restrict\t{KEY_TEXT}\n".encode(), True),
        (f"{KEY_TEXT}".encode(), True),
        (f"{KEY_TEXT}\r\n".encode(), True),
        (f"{OTHER_TEXT}\r{KEY_TEXT}\r".encode(), False),
        (b"\xef\xbb\xbf" + f"{KEY_TEXT}\n".encode(), False),
        (b"\xff\x00 junk\n" + f"{KEY_TEXT}\n".encode(), True),
        (f'expiry-time="20200101Z" {KEY_TEXT}\n{KEY_TEXT}\n'.encode(), True),
        (f'{KEY_TEXT}\nexpiry-time="20200101Z" {KEY_TEXT}\n'.encode(), True),
        (f"restrict {KEY_TEXT[:-8]}\n".encode(), False),
        (b'command="' + b"x" * 9000 + b'" ' + f"{KEY_TEXT}\n".encode(), True),
        (f"ssh-rsa {KEY_TEXT.split()[1]}\n".encode(), False),
    ],
)
def test_files_are_read_as_sshd_reads_them(content: bytes, opens: bool) -> None:
    """Any valid line wins; blanks, CRLF, junk in other lines and a missing last newline do no harm."""
    assert isinstance(verdict(content), Allowed) is opens


def test_the_options_of_the_winning_line_are_reported() -> None:
    """The caller learns which line opened and what it permits."""
    result = verdict(f'{OTHER_TEXT}\nrestrict,pty,command="id -u",expiry-time="20270101Z" {KEY_TEXT} c\n')
    assert isinstance(result, Allowed)
    assert result.line == 2
    assert result.options.command == "id -u"
    assert result.options.permits == {"pty"}
    assert result.options.expires_at == calendar.timegm((2027, 1, 1, 0, 0, 0))


def test_restrict_takes_back_what_stood_before_it() -> None:
    """Options work in the order in which they are written."""
    assert parse_options("pty,restrict").permits == frozenset()
    assert parse_options("restrict,pty,no-pty").permits == frozenset()


def test_an_expiry_without_z_is_read_in_the_zone_of_the_node() -> None:
    """The same text ends at another time in another zone; with Z it does not."""
    line = f'expiry-time="20261122130000" {KEY_TEXT}\n'
    assert isinstance(verdict(line, zone="UTC"), Allowed)
    assert isinstance(verdict(line, zone="Asia/Tokyo"), Denied)
    assert isinstance(verdict(line.replace('"', 'Z"').replace('=Z"', '="'), zone="Asia/Tokyo"), Allowed)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20260101Z", (2026, 1, 1, 0, 0, 0)),
        ("202601010203Z", (2026, 1, 1, 2, 3, 0)),
        ("20260101020304UTC", (2026, 1, 1, 2, 3, 4)),
        ("20260431Z", (2026, 5, 1, 0, 0, 0)),
        ("20260101235960Z", (2026, 1, 2, 0, 0, 0)),
    ],
)
def test_expiry_texts(text: str, expected: tuple[int, ...]) -> None:
    """Every form that sshd knows gives the second that it gives there."""
    assert parse_expiry(text) == calendar.timegm(expected)


@pytest.mark.parametrize("text", ["", "Z", "2026", "20260001", "20260132", "19690101", "19700101Z", "٢٠٢٦٠١٠١"])
def test_impossible_expiry_texts_are_refused(text: str) -> None:
    """What is no date, or before 1970, spoils the line."""
    with pytest.raises(LineError):
        parse_expiry(text)


@pytest.mark.parametrize(
    ("peer", "patterns", "listed"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("10.1.2.3", "10.1.*", True),
        ("::1", "::/64", True),
        ("127.0.0.1", "::1", False),
        ("127.0.0.1", "10.0.0.0/8,", False),
        ("127.0.0.1", "*,!127.0.0.1", False),
        ("127.0.0.1", "!10.0.0.1", False),
    ],
)
def test_from_patterns(peer: str, patterns: str, listed: bool) -> None:
    """Addresses, networks, wildcards and negations; a negation alone lists nobody."""
    assert is_peer_listed(peer, patterns) is listed
