"""What a unit hides, and the lines that show it again: by the rules that systemd itself follows."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from engine.diagnostics.unit_hiding import hides, is_writable, showing

WALLET = "/root/.bittensor/wallets"


@pytest.mark.parametrize(
    ("settings", "hidden"),
    [
        ({}, ""),
        ({"ProtectHome": ("yes",)}, "ProtectHome=yes"),
        ({"ProtectHome": ("yes",), "BindReadOnlyPaths": ("/root/.bittensor",)}, "ProtectHome=yes"),
        ({"ProtectHome": ("read-only",)}, ""),
        ({"ProtectHome": ("tmpfs",)}, "ProtectHome=tmpfs"),
        ({"ProtectHome": ("tmpfs",), "BindReadOnlyPaths": ("/root/.bittensor",)}, ""),
        ({"ProtectHome": ("tmpfs",), "BindPaths": ("/srv/w:/root/.bittensor:norbind",)}, ""),
        ({"ProtectHome": ("tmpfs",), "BindPaths": ("/root/.bittensor:/srv/w",)}, "ProtectHome=tmpfs"),
        ({"InaccessiblePaths": ("-/root",)}, "InaccessiblePaths=-/root"),
        ({"InaccessiblePaths": ("/root",), "BindReadOnlyPaths": (WALLET,)}, "InaccessiblePaths=/root"),
        ({"TemporaryFileSystem": ("/root:ro",)}, "TemporaryFileSystem=/root:ro"),
        ({"TemporaryFileSystem": ("/root:ro",), "BindReadOnlyPaths": (WALLET,)}, ""),
    ],
)
def test_what_a_unit_hides(settings: Mapping[str, tuple[str, ...]], hidden: str) -> None:
    """A bind shows what a temporary file system covers, and nothing below an inaccessible directory."""
    assert hides(settings, WALLET) == hidden


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({"ProtectHome": ("yes",)}, ("ProtectHome=tmpfs", f"BindReadOnlyPaths={WALLET}", "BindPaths=/home/m/data")),
        ({"ProtectHome": ("tmpfs",)}, (f"BindReadOnlyPaths={WALLET}",)),
        ({"PrivateTmp": ("yes",)}, ()),
        (
            {"InaccessiblePaths": ("-/root /srv", "/mnt")},
            ("InaccessiblePaths=", "InaccessiblePaths=/srv", "InaccessiblePaths=/mnt"),
        ),
        (
            {"InaccessiblePaths": ("/root",), "ProtectHome": ("tmpfs",)},
            ("InaccessiblePaths=", f"BindReadOnlyPaths={WALLET}"),
        ),
    ],
)
def test_the_lines_that_show_it(settings: Mapping[str, tuple[str, ...]], lines: tuple[str, ...]) -> None:
    """The path is visible after them; other directories stay closed, and data below a home stay writable."""
    assert showing(settings, WALLET, "/home/m/data") == lines
    after: dict[str, tuple[str, ...]] = dict(settings)
    for line in lines:
        key, _, value = line.partition("=")
        after[key] = (*after.get(key, ()), value) if value else ()
    assert hides(after, WALLET) == ""


def test_what_strict_leaves_writable() -> None:
    """Named directories, binds and the unit's own state directory, by the name that the service sees."""
    assert is_writable({"ReadWritePaths": ("-/srv",)}, "/srv/data")
    assert is_writable({"StateDirectory": ("basilica",)}, "/var/lib/basilica/x")
    assert is_writable({"BindPaths": ("/mnt/d:/srv/d",)}, "/srv/d")
    assert not is_writable({"BindPaths": ("/srv/d:/mnt/d",)}, "/srv/d")
    assert not is_writable({}, "/srv/d")
