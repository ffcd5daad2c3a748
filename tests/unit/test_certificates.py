"""Certificates between our engines: what is issued, and what is refused of what others send."""

from __future__ import annotations

import base64
import time
from pathlib import Path

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import CertificateRefused
from engine.ssh.certificates import (
    FILES,
    Authority,
    Issued,
    certified_key,
    read_guest_certificate,
    read_host_certificate,
)
from engine.ssh.host_keys import PresentedKey
from engine.ssh.keys import ClientKey

NOW = 1_800_000_000
GUEST, AUTHORITY = ClientKey.generate("guest"), Authority(ClientKey.generate("users"), ClientKey.generate("hosts"))
HOST = ClientKey.generate("host")


def issue(key: ClientKey = GUEST, *, is_wrapped: bool = False) -> Issued:
    """A certificate for grant ``g1``."""
    return AUTHORITY.certify_guest(
        grant_id="g1",
        holder="validator-x",
        algorithm=key.algorithm,
        blob_base64=key.blob_base64,
        now_unix=NOW,
        end_unix=NOW + 3600,
        is_wrapped=is_wrapped,
    )


def presented(key: ClientKey) -> PresentedKey:
    """A key as a host would show it."""
    return PresentedKey(key.algorithm, base64.b64decode(key.blob_base64))


def host_certificate(key: ClientKey = HOST, host: str = "node.example") -> str:
    """A certificate of the host authority."""
    return AUTHORITY.certify_host(host, presented(key), now_unix=NOW, end_unix=NOW + 3600)


def test_a_guest_gets_one_principal_one_hour_and_nothing_but_a_terminal() -> None:
    """The certificate names the grant, ends with it, and allows neither forwarding nor the account's own rc."""
    issued = issue()
    read = read_guest_certificate(issued.text, GUEST)
    assert (read.principals, read.expires_at_unix) == (("basilica-g1",), NOW + 3600)
    assert issued.key_id == "validator-x grant=g1"
    assert set(asyncssh.import_certificate(issued.text).options) == {"permit-pty"}  # type: ignore[attr-defined]


def test_a_wrapped_guest_carries_the_forced_command() -> None:
    """What marks and ends a session cannot be left off by the guest: the certificate says it."""
    options = asyncssh.import_certificate(issue(is_wrapped=True).text).options  # type: ignore[attr-defined]
    assert "BASILICA_GRANT=g1" in options["force-command"] and "[ ]g1=[0-9]" in options["force-command"]


def test_every_kind_of_guest_key_can_be_certified() -> None:
    """RSA and ECDSA guests are served like Ed25519 ones."""
    for kind in ("ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp521"):
        key = ClientKey(asyncssh.generate_private_key(kind))
        certificate = read_guest_certificate(issue(key).text, key).loaded
        assert certified_key(*_words(issue(key).text)) == base64.b64decode(key.blob_base64)
        assert certificate.key.get_fingerprint() == key.fingerprint


def test_certificates_for_others_are_refused() -> None:
    """Another key's certificate, a host's certificate and a plain key are no way in for us."""
    for text in (issue(ClientKey.generate()).text, host_certificate(GUEST), GUEST.public_line, "", "x y", "\0"):
        with pytest.raises(CertificateRefused):
            read_guest_certificate(text, GUEST)


@pytest.mark.parametrize(
    ("text", "authority", "host", "now"),
    [
        (host_certificate(), AUTHORITY.users.normalised, "node.example", NOW),
        (host_certificate(), "", "node.example", NOW),
        (host_certificate(), AUTHORITY.hosts.normalised, "other.example", NOW),
        (host_certificate(), AUTHORITY.hosts.normalised, "node.example", NOW + 3900),
        (host_certificate(), AUTHORITY.hosts.normalised, "node.example", NOW - 601),
        (issue().text, AUTHORITY.users.normalised, "basilica-g1", NOW),
        (HOST.public_line, AUTHORITY.hosts.normalised, "node.example", NOW),
    ],
    ids=["other-authority", "no-authority", "other-host", "too-late", "too-early", "a-guest's", "no-certificate"],
)
def test_a_host_is_believed_only_on_its_authoritys_word(text: str, authority: str, host: str, now: float) -> None:
    """Signer, name, kind and time all have to fit."""
    with pytest.raises(CertificateRefused):
        read_host_certificate(text, authority, host, now)


def test_a_certified_host_key_is_that_of_the_host() -> None:
    """What comes out is the plain key that the host shows when it is dialled."""
    found = read_host_certificate(host_certificate(), AUTHORITY.hosts.normalised, "node.example", NOW + 60)
    assert found == presented(HOST)


def test_the_authoritys_keys_are_made_once_and_kept_private(tmp_path: Path) -> None:
    """A second start takes the same keys; nobody else can read them."""
    first, second = Authority.load_or_create(tmp_path), Authority.load_or_create(tmp_path)
    assert (first.users.fingerprint, first.hosts.fingerprint) == (second.users.fingerprint, second.hosts.fingerprint)
    assert first.users.fingerprint != first.hosts.fingerprint
    assert all((tmp_path / name).stat().st_mode & 0o777 == 0o600 for name in FILES)


@given(st.one_of(st.text(max_size=200), st.binary(max_size=300).map(lambda data: "ssh-ed25519-cert-v01@openssh.com "
       + base64.b64encode(data).decode())))  # fmt: skip
def test_any_text_is_a_certificate_or_refused(text: str) -> None:
    """A stranger's bytes never raise anything else."""
    for read in (
        lambda: read_guest_certificate(text, GUEST),
        lambda: read_host_certificate(text, AUTHORITY.hosts.normalised, "h", time.time()),
    ):
        with pytest.raises(CertificateRefused):
            read()


@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_certificate_with_one_changed_byte_is_refused_or_still_ours(place: int, value: int) -> None:
    """The signature covers everything: no byte can be changed and read as something else."""
    algorithm, blob = _words(issue().text)
    changed = bytearray(blob)
    changed[place % len(changed)] = value
    text = f"{algorithm} {base64.b64encode(bytes(changed)).decode()}"
    if bytes(changed) == blob:
        assert read_guest_certificate(text, GUEST).principals == ("basilica-g1",)
        return
    with pytest.raises(CertificateRefused):
        read_guest_certificate(text, GUEST)


def _words(text: str) -> tuple[str, bytes]:
    algorithm, encoded = text.split()[:2]
    return algorithm, base64.b64decode(encoded)
