"""Public key intake: what may reach an authorized_keys file, and what is refused at the door."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import PublicKeyRefused
from engine.identity.public_keys import parse_public_key


def openssh(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | dsa.DSAPrivateKey) -> str:
    encoding, form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return key.public_key().public_bytes(encoding, form).decode()


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def line(algorithm: str, *parts: bytes, inside: str | None = None) -> str:
    blob = b"".join(string(part) for part in ((inside or algorithm).encode(), *parts))
    return f"{algorithm} {base64.b64encode(blob).decode()}"


ED25519 = openssh(ed25519.Ed25519PrivateKey.generate())
P256 = openssh(ec.generate_private_key(ec.SECP256R1()))
RSA2048 = openssh(rsa.generate_private_key(65537, 2048))
POINT = base64.b64decode(ED25519.split()[1])[-32:]
P256_POINT = base64.b64decode(P256.split()[1])[-65:]
GOOD = [
    ED25519,
    P256,
    openssh(ec.generate_private_key(ec.SECP384R1())),
    openssh(ec.generate_private_key(ec.SECP521R1())),
    RSA2048,
]


@pytest.mark.parametrize("text", GOOD, ids=lambda text: text.split()[0])
def test_plain_keys_are_taken_and_written_again(text: str) -> None:
    """Each accepted type keeps algorithm and blob, and its hash is that of the normalised text."""
    key = parse_public_key(text)
    assert key.normalised == text
    assert key.algorithm == text.split(maxsplit=1)[0]
    assert key.sha256_hex == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("text", [ED25519 + " me@host", f"  {ED25519}   a b c ", ED25519 + " validator-5Grw exp=1"])
def test_comments_are_dropped(text: str) -> None:
    """Whatever stands behind the blob does not leave the parser."""
    assert parse_public_key(text).normalised == ED25519


def test_the_fingerprint_is_that_of_ssh_keygen(tmp_path: Path) -> None:
    """The fingerprint reads as operators know it from ssh-keygen -l."""
    (tmp_path / "key.pub").write_text(ED25519 + "\n")
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", tmp_path / "key.pub"], capture_output=True, text=True, check=True
    ).stdout
    assert parse_public_key(ED25519).fingerprint in shown.split()


MINUS_ONE = (2**255 - 20).to_bytes(32, "little")
BIG_MODULUS = bytes([0x00, 0xC0]) + bytes(254) + b"\x01"
REFUSED = {
    "empty": ("", "empty"),
    "blank": ("   ", "empty"),
    "one word": ("ssh-ed25519", "no second word"),
    "second line": (ED25519 + "\n" + P256, "line break"),
    "trailing newline": (ED25519 + "\n", "line break"),
    "carriage return": (ED25519 + " me\rroot", "line break"),
    "NUL": (ED25519 + " a\0b", "printable"),
    "tab": (ED25519.replace(" ", "\t"), "printable"),
    "not ASCII": (ED25519 + " café", "printable"),
    "escape": (ED25519 + " \x1b[2J", "printable"),
    "too long": (ED25519 + " " + "x" * 16384, "longer than"),
    "options": ('command="id" ' + ED25519, "options"),
    "restrict option": ("restrict " + ED25519, "options"),
    "unknown type": ("ssh-foo AAAAB3NzaC1", "not accepted"),
    "private key": ("-----BEGIN OPENSSH PRIVATE KEY----- b3Bl", "private key"),
    "private key lines": ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n", "private key"),
    "RFC 4716": ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n", "RFC 4716"),
    "certificate": ("ssh-ed25519-cert-v01@openssh.com " + ED25519.split()[1], "certificate"),
    "dsa": ("ssh-dss AAAAB3NzaC1kc3MAAACBAP", "DSA"),
    "security key": (line("sk-ssh-ed25519@openssh.com", POINT, b"ssh:"), "hardware token"),
    "bad base64": ("ssh-ed25519 AAAA$$$$", "base64"),
    "unpadded": (RSA2048.rstrip("=")[:-1], "base64"),
    "loose last bits": (line("ssh-ed25519", POINT, b"x")[:-2] + "B=", "canonical"),
    "cut off": ("ssh-ed25519 " + base64.b64encode(string(b"ssh-ed25519") + b"\0\0\0\x20ab").decode(), "cut off"),
    "no length": ("ssh-ed25519 AAAA", "cut off"),
    "length lie": ("ssh-ed25519 " + base64.b64encode(b"\xff\xff\xff\xff" + b"a" * 40).decode(), "cut off"),
    "type differs": (line("ssh-ed25519", POINT, inside="ssh-rsa"), "one type outside"),
    "trailing bytes": (line("ssh-ed25519", POINT, b""), "after its end"),
    "short point": (line("ssh-ed25519", POINT[:31]), "Ed25519 point"),
    "all-zero point": (line("ssh-ed25519", bytes(32)), "Ed25519 point"),
    "neutral point": (line("ssh-ed25519", b"\x01" + bytes(31)), "Ed25519 point"),
    "order two": (line("ssh-ed25519", MINUS_ONE), "Ed25519 point"),
    "beyond the field": (line("ssh-ed25519", b"\xff" * 32), "Ed25519 point"),
    "curve differs": (line("ecdsa-sha2-nistp256", b"nistp384", P256_POINT), "one curve outside"),
    "not on the curve": (line("ecdsa-sha2-nistp256", b"nistp256", P256_POINT[:-1] + b"\0\0"), "nistp256"),
    "off by one": (line("ecdsa-sha2-nistp256", b"nistp256", b"\x04" + bytes(63) + b"\x01"), "nistp256"),
    "compressed point": (line("ecdsa-sha2-nistp256", b"nistp256", b"\x02" + P256_POINT[1:33]), "nistp256"),
    "point at infinity": (line("ecdsa-sha2-nistp256", b"nistp256", b"\0"), "nistp256"),
    "rsa 1024": (line("ssh-rsa", b"\x01\x00\x01", b"\0\xc0" + bytes(126) + b"\x01"), "1024 bits"),
    "rsa giant": (line("ssh-rsa", b"\x01\x00\x01", b"\x40" + bytes(2500) + b"\x01"), "bits"),
    "rsa even modulus": (line("ssh-rsa", b"\x01\x00\x01", BIG_MODULUS[:-1] + b"\x02"), "unusable"),
    "rsa exponent one": (line("ssh-rsa", b"\x01", BIG_MODULUS), "unusable"),
    "rsa even exponent": (line("ssh-rsa", b"\x02", BIG_MODULUS), "unusable"),
    "rsa negative": (line("ssh-rsa", b"\x01\x00\x01", b"\xc0" + bytes(254) + b"\x01"), "positive"),
    "rsa padded number": (line("ssh-rsa", b"\0\x01\x00\x01", BIG_MODULUS), "positive"),
    "rsa zero": (line("ssh-rsa", b"", BIG_MODULUS), "positive"),
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_everything_else_is_refused_with_its_reason(text: str, reason: str) -> None:
    """Malformed, weak or smuggling text is refused, and the refusal does not quote it."""
    with pytest.raises(PublicKeyRefused, match=reason) as caught:
        parse_public_key(text)
    assert "b3Bl" not in str(caught.value)
    assert "MIIE" not in str(caught.value)


def test_hardware_keys_are_taken_when_asked_for() -> None:
    """The sk-* types parse when the caller allows them."""
    text = line("sk-ssh-ed25519@openssh.com", POINT, b"ssh:")
    assert parse_public_key(text, allow_security_keys=True).normalised == text


@given(st.text(max_size=200) | st.binary(max_size=120).map(lambda b: "ssh-rsa " + base64.b64encode(b).decode()))
def test_arbitrary_text_is_refused_and_nothing_else_happens(text: str) -> None:
    """No text whatsoever makes the parser fail in another way."""
    with pytest.raises(PublicKeyRefused):
        parse_public_key(text)


@given(st.integers(0, 79), st.integers(0, 255))
def test_a_damaged_key_is_another_key_or_none(at: int, value: int) -> None:
    """Changing one character never yields the original key, and never another error."""
    damaged = ED25519[:at] + chr(value) + ED25519[at + 1 :]
    if damaged == ED25519:
        return
    with contextlib.suppress(PublicKeyRefused):
        assert parse_public_key(damaged).normalised != ED25519
