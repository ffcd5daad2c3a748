"""What is inside the base64 of an SSH public key (RFC 4253 §6.6, RFC 5656, RFC 8709, OpenSSH PROTOCOL.u2f)."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric import ec
from nacl.bindings import crypto_core_ed25519_is_valid_point

from engine.errors import PublicKeyRefused

_CURVES: dict[str, type[ec.EllipticCurve]] = {
    "nistp256": ec.SECP256R1,
    "nistp384": ec.SECP384R1,
    "nistp521": ec.SECP521R1,
}
ALGORITHMS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
SECURITY_KEY_ALGORITHMS = ("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")
SMALLEST_RSA_BITS = 2048
LARGEST_RSA_BITS = 16384


def check(algorithm: str, blob: bytes) -> None:
    """Prove that a blob is exactly one usable key of this algorithm; raises PublicKeyRefused."""
    reader = _Reader(blob)
    if reader.string() != algorithm.encode():
        raise PublicKeyRefused("SSH public key names one type outside and another inside")
    _CHECKS[algorithm](reader)
    if reader.left:
        raise PublicKeyRefused("SSH public key has bytes after its end")


class _Reader:
    """Takes length-prefixed strings from a blob; every overrun is a refusal."""

    def __init__(self, blob: bytes) -> None:
        self._blob = blob
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._blob) - self._at

    def string(self) -> bytes:
        start = self._at + 4
        end = start + int.from_bytes(self._blob[self._at : start], "big")
        if start > len(self._blob) or end > len(self._blob):
            raise PublicKeyRefused("SSH public key is cut off")
        self._at = end
        return self._blob[start:end]

    def positive_integer(self) -> int:
        raw = self.string()
        # A leading zero is allowed only where the next bit would read as a sign.
        if not raw or raw[0] & 0x80 or (raw[0] == 0 and (len(raw) == 1 or not raw[1] & 0x80)):
            raise PublicKeyRefused("SSH public key holds a number that is not positive or not in its shortest form")
        return int.from_bytes(raw, "big")


def _check_ed25519(reader: _Reader) -> None:
    point = reader.string()
    # libsodium's test covers encoding, curve, subgroup and small order; all-zero bytes are a point of order 4.
    if len(point) != 32 or not crypto_core_ed25519_is_valid_point(point):
        raise PublicKeyRefused("SSH public key is not a valid Ed25519 point")


def _ecdsa_check(curve_name: str) -> Callable[[_Reader], None]:
    def check_ecdsa(reader: _Reader) -> None:
        if reader.string() != curve_name.encode():
            raise PublicKeyRefused("SSH public key names one curve outside and another inside")
        point = reader.string()
        try:
            # Only the uncompressed form (first byte 4) is used by SSH; the library checks that it is on the curve.
            if point[:1] != b"\x04":
                raise ValueError
            ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[curve_name](), point)
        except ValueError:
            raise PublicKeyRefused(f"SSH public key is not a valid point on {curve_name}") from None

    return check_ecdsa


def _check_rsa(reader: _Reader) -> None:
    exponent, modulus = reader.positive_integer(), reader.positive_integer()
    if not SMALLEST_RSA_BITS <= modulus.bit_length() <= LARGEST_RSA_BITS:
        raise PublicKeyRefused(
            f"SSH public key is RSA with {modulus.bit_length()} bits",
            hint=f"use ssh-ed25519, or RSA with {SMALLEST_RSA_BITS} to {LARGEST_RSA_BITS} bits",
        )
    if modulus % 2 == 0 or exponent % 2 == 0 or not 3 <= exponent < 1 << 64:
        raise PublicKeyRefused("SSH public key is RSA with an unusable modulus or exponent")


def _with_application(check_key: Callable[[_Reader], None]) -> Callable[[_Reader], None]:
    def check_security_key(reader: _Reader) -> None:
        check_key(reader)
        reader.string()

    return check_security_key


_CHECKS: dict[str, Callable[[_Reader], None]] = {
    "ssh-ed25519": _check_ed25519,
    **{f"ecdsa-sha2-{curve}": _ecdsa_check(curve) for curve in _CURVES},
    "ssh-rsa": _check_rsa,
    "sk-ssh-ed25519@openssh.com": _with_application(_check_ed25519),
    "sk-ecdsa-sha2-nistp256@openssh.com": _with_application(_ecdsa_check("nistp256")),
}
