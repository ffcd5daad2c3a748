"""Strict intake of SSH public keys from the network: parsed here to the last byte, written out again by us.

Only what was understood leaves: algorithm and re-encoded blob. Comments, options and everything else are dropped or
refused, and refused text is never quoted, since it may be a private key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass

from engine.errors import PublicKeyRefused
from engine.identity import ssh_blobs

LONGEST_TEXT = 16 * 1024
_HINT = "send one OpenSSH public key line, for example the content of id_ed25519.pub"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """An SSH public key that was proved to be one."""

    algorithm: str
    blob_base64: str
    fingerprint: str
    """As ``ssh-keygen -l`` shows it: ``SHA256:`` and unpadded base64."""

    @property
    def normalised(self) -> str:
        """``algorithm base64``, without a comment."""
        return f"{self.algorithm} {self.blob_base64}"

    @property
    def sha256_hex(self) -> str:
        """SHA-256 of the normalised text, which dialect B signs."""
        return hashlib.sha256(self.normalised.encode()).hexdigest()


def parse_public_key(text: str, *, allow_security_keys: bool = False) -> PublicKey:
    """Accept one plain OpenSSH public key line; raises PublicKeyRefused with the reason.

    Accepted: ssh-ed25519, ecdsa-sha2-nistp256/384/521, ssh-rsa of 2048 to 16384 bits and, when asked for, the sk-*
    types of hardware keys. A comment is allowed and dropped.
    """
    algorithm, encoded = _split(text)
    _check_algorithm(algorithm, encoded, allow_security_keys)
    try:
        blob = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise PublicKeyRefused("SSH public key is not valid base64", hint=_HINT) from None
    if base64.b64encode(blob).decode() != encoded:
        raise PublicKeyRefused("SSH public key is not written in canonical base64", hint=_HINT)
    ssh_blobs.check(algorithm, blob)
    return PublicKey(algorithm=algorithm, blob_base64=encoded, fingerprint=fingerprint_of(blob))


def fingerprint_of(blob: bytes) -> str:
    """The SHA256 fingerprint of a key blob."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def _split(text: str) -> tuple[str, str]:
    if len(text) > LONGEST_TEXT:
        raise PublicKeyRefused(f"SSH public key text is longer than {LONGEST_TEXT} bytes", hint=_HINT)
    if "PRIVATE KEY" in text.upper():
        raise PublicKeyRefused(
            "SSH public key expected, but a private key was sent",
            hint="treat that key as lost: make a new one and send only its .pub line",
        )
    if "BEGIN SSH2" in text:
        raise PublicKeyRefused("SSH public key is in RFC 4716 form", hint="convert it with ssh-keygen -i -f FILE")
    if "\n" in text or "\r" in text:
        raise PublicKeyRefused("SSH public key contains a line break", hint=_HINT)
    if not all(" " <= character <= "~" for character in text):
        raise PublicKeyRefused("SSH public key contains a character that is not printable ASCII", hint=_HINT)
    words = text.split(" ")
    words = [word for word in words if word]
    if not words:
        raise PublicKeyRefused("SSH public key is empty", hint=_HINT)
    if len(words) == 1:
        raise PublicKeyRefused("SSH public key has no second word: algorithm and base64 are needed", hint=_HINT)
    return words[0], words[1]


def _check_algorithm(algorithm: str, encoded: str, allow_security_keys: bool) -> None:
    if algorithm in ssh_blobs.ALGORITHMS or (allow_security_keys and algorithm in ssh_blobs.SECURITY_KEY_ALGORITHMS):
        return
    if "-cert-v0" in algorithm:
        raise PublicKeyRefused("SSH public key is a certificate", hint="send the plain public key instead")
    if algorithm in ssh_blobs.SECURITY_KEY_ALGORITHMS:
        raise PublicKeyRefused("SSH public key belongs to a hardware token, which needs a person to touch it")
    if algorithm == "ssh-dss":
        raise PublicKeyRefused("SSH public key is DSA, which is broken", hint="use ssh-ed25519")
    # A blob starts with the length of its type's name, hence always with these characters.
    if not encoded.startswith("AAAA"):
        raise PublicKeyRefused("SSH public key has options or other text in front of it", hint=_HINT)
    raise PublicKeyRefused(
        "SSH public key is of a type that is not accepted", hint=f"use one of {', '.join(ssh_blobs.ALGORITHMS)}"
    )
