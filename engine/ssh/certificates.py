"""SSH certificates between our own engines: the miner certifies its guests' keys and its nodes' host keys.

A node holds one line that trusts the authority for a list of principals, one per grant. A certificate names one of
them, so that taking the principal off the line ends the access at once, whatever the certificate still says.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from pathlib import Path

import asyncssh
from asyncssh.public_key import SSHOpenSSHCertificate

from engine.errors import CertificateRefused
from engine.ssh import session_wrapper
from engine.ssh.host_keys import PresentedKey
from engine.ssh.keyeditor import principal_of
from engine.ssh.keys import ClientKey

LONGEST_CERTIFICATE = 16 * 1024
EARLIER_S = 300
"""A certificate counts from so long ago: clocks differ, and beyond this the miner serves no node at all."""
_CERTIFIED = "-cert-v01@openssh.com"
_USER, _HOST = 1, 2


@dataclass(frozen=True, slots=True)
class Issued:
    """A new user certificate: its OpenSSH line, and what the node's log will call it."""

    text: str
    serial: int
    key_id: str


@dataclass(frozen=True, slots=True)
class GuestCertificate:
    """A user certificate that was checked; ``loaded`` is for ``engine.ssh.login`` alone."""

    loaded: asyncssh.SSHCertificate
    principals: tuple[str, ...]
    expires_at_unix: int


class Authority:
    """The two keys that sign: one for guests, one for hosts. Nothing that they sign outlives a grant."""

    def __init__(self, users: ClientKey, hosts: ClientKey) -> None:
        self.users = users
        self.hosts = hosts

    @classmethod
    def load_or_create(cls, directory: Path) -> Authority:
        """The keys ``ssh_user_ca`` and ``ssh_host_ca`` there, made when they are missing. Raises ClientKeyUnusable."""
        return cls(*(ClientKey.load_or_create(directory / name, f"basilica-{name}") for name in FILES))

    def certify_guest(
        self,
        *,
        grant_id: str,
        holder: str,
        algorithm: str,
        blob_base64: str,
        now_unix: int,
        end_unix: int,
        is_wrapped: bool,
    ) -> Issued:
        """A certificate for one grant on one node, both times in the node's own."""
        serial = secrets.randbits(63)
        key_id = f"{holder} grant={grant_id}"
        certificate = self.users.private.generate_user_certificate(
            asyncssh.import_public_key(f"{algorithm} {blob_base64}"),
            key_id,
            serial=serial,
            principals=[principal_of(grant_id)],
            valid_after=now_unix - EARLIER_S,
            valid_before=end_unix,
            force_command=session_wrapper.guest_command(grant_id, end_unix) if is_wrapped else None,
            permit_x11_forwarding=False,
            permit_agent_forwarding=False,
            permit_port_forwarding=False,
            permit_user_rc=False,
            comment=None,
        )
        return Issued(_text(certificate), serial, key_id)

    def certify_host(self, host: str, key: PresentedKey, *, now_unix: int, end_unix: int) -> str:
        """The OpenSSH line of a certificate for a node's host key, for the name that guests dial."""
        certificate = self.hosts.private.generate_host_certificate(
            asyncssh.import_public_key(f"{key.algorithm} {base64.b64encode(key.blob).decode('ascii')}"),
            f"basilica-host {host}",
            serial=secrets.randbits(63),
            principals=[host],
            valid_after=now_unix - EARLIER_S,
            valid_before=end_unix,
            comment=None,
        )
        return _text(certificate)


FILES = ("ssh_user_ca", "ssh_host_ca")


def read_guest_certificate(text: str, key: ClientKey) -> GuestCertificate:
    """A user certificate for our own key, as another engine sent it. Raises CertificateRefused."""
    certificate = _read(text, _USER)
    if _public_blob(certificate.key) != key.blob_base64:
        raise CertificateRefused("the SSH certificate is for another key than ours")
    return GuestCertificate(
        certificate,
        tuple(certificate.principals),
        int(certificate._valid_before),  # it has no public name
    )


def read_host_certificate(text: str, authority_line: str, host: str, now: float) -> PresentedKey:
    """The host key that an authority vouches for under this name now. Raises CertificateRefused."""
    certificate = _read(text, _HOST)
    words = authority_line.split()
    if len(words) < 2 or _public_blob(certificate.signing_key) != words[1]:
        raise CertificateRefused("the host certificate is signed by another key than the miner's host authority")
    if host not in certificate.principals:
        raise CertificateRefused("the host certificate is for another host")
    if not certificate._valid_after <= now + EARLIER_S or now - EARLIER_S >= certificate._valid_before:
        raise CertificateRefused("the host certificate is out of its time")
    algorithm = certificate.key.get_algorithm()
    return PresentedKey(algorithm, certificate.key.public_data)


def certified_key(algorithm: str, blob: bytes) -> bytes:
    """The plain key inside a certificate's blob; the blob itself when it is no certificate."""
    if not algorithm.endswith(_CERTIFIED):
        return blob
    try:
        text = f"{algorithm} {base64.b64encode(blob).decode('ascii')}"
        return bytes(asyncssh.import_certificate(text).key.public_data)
    except Exception:  # noqa: BLE001  # whatever a parser says to a stranger's bytes: it is no key
        return b""


def _read(text: str, kind: int) -> SSHOpenSSHCertificate:
    if len(text) > LONGEST_CERTIFICATE or not all(" " <= character <= "~" for character in text):
        raise CertificateRefused("the SSH certificate is no OpenSSH certificate line")
    try:
        certificate = asyncssh.import_certificate(text)
    except Exception as error:  # a stranger's bytes reach many parsers; whatever they raise is a refusal
        raise CertificateRefused("the SSH certificate cannot be read") from error
    if not isinstance(certificate, SSHOpenSSHCertificate) or certificate._cert_type != kind:
        raise CertificateRefused(f"the SSH certificate is no {'user' if kind == _USER else 'host'} certificate")
    return certificate


def _public_blob(key: asyncssh.SSHKey) -> str:
    return base64.b64encode(key.public_data).decode("ascii")


def _text(certificate: SSHOpenSSHCertificate) -> str:
    return certificate.export_certificate("openssh").decode("ascii").strip()
