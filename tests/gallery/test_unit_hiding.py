"""What the doctor says of a unit's hardening is what systemd does: services are really started with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pytest

from engine.diagnostics.unit_hiding import hides, showing
from tests.support.booted import BootedHost, why_not_booted

FILE = "/home/guest/wallet/key"
DATA = "/home/guest/data"

pytestmark = [
    pytest.mark.sshd,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(why_not_booted()), reason=why_not_booted()),
]


@pytest.fixture(scope="module")
def host() -> Iterator[BootedHost]:
    """A machine with its own systemd, a key below a home, and one in another directory."""
    host = BootedHost()
    host.start()
    try:
        host.shell(f"mkdir -p {DATA} /home/guest/wallet /srv/open; echo secret | tee {FILE} /srv/open/file")
        yield host
    finally:
        host.stop()


def service(host: BootedHost, settings: Sequence[str], command: str) -> bool:
    """Whether a command succeeds as a service with these settings."""
    properties = [word for line in settings for word in ("-p", line)]
    return (
        host.run("systemd-run", "--wait", "--pipe", "-q", *properties, "sh", "-c", command, check=False).returncode == 0
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"ProtectHome": "yes"},
        {"ProtectHome": "yes", "BindReadOnlyPaths": "/home/guest/wallet"},
        {"ProtectHome": "tmpfs"},
        {"ProtectHome": "tmpfs", "BindReadOnlyPaths": "/home/guest/wallet"},
        {"InaccessiblePaths": "/home/guest"},
        {"InaccessiblePaths": "/home/guest /srv/open", "BindReadOnlyPaths": "/home/guest/wallet"},
        {"TemporaryFileSystem": "/home"},
        {"ProtectHome": "read-only"},
    ],
    ids=str,
)
def test_the_rules_are_systemds_own(host: BootedHost, settings: Mapping[str, str]) -> None:
    """The file is seen exactly where no setting is named; with the cure's lines it is seen, and nothing else opened."""
    lines = [f"{key}={value}" for key, value in settings.items()]
    known = {key: (value,) for key, value in settings.items()}

    assert service(host, lines, f"cat {FILE}") is not bool(hides(known, FILE))

    cured = [*lines, *showing(known, FILE, DATA)]
    assert service(host, cured, f"cat {FILE}")
    assert service(host, cured, "cat /srv/open/file") is ("/srv/open" not in settings.get("InaccessiblePaths", ""))
    if settings == {"ProtectHome": "yes"}:
        assert service(host, cured, f"touch {DATA}/new")
        host.shell(f"test -e {DATA}/new")
