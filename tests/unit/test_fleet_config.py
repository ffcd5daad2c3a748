"""The fleet's keys of miner.toml."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from engine.config.miner import NodeManagementConfig, ObservedConfig


@pytest.mark.parametrize("url", ["http://v:9090/metrics", "https://[::1]:8080", "http://validator.example/a/b"])
def test_web_addresses(url: str) -> None:
    """A validator's address is a scheme, a host and perhaps a path."""
    assert ObservedConfig(metrics_url=url).metrics_url == url


@pytest.mark.parametrize("url", ["", "validator:9090", "ftp://v/", "http://", "http://user:secret@v/", "http://v/ x"])
def test_other_addresses_are_refused(url: str) -> None:
    """No other scheme, and no password that would end up in events."""
    with pytest.raises(ValidationError):
        ObservedConfig(rest_url=url)


def test_defaults_and_bounds() -> None:
    """A day's window, the documents' ramp; nothing observed unless asked for."""
    section = NodeManagementConfig()
    assert (section.success_window, section.ramp_profile) == (86400.0, "documented")
    assert ObservedConfig().metrics_url is None
    with pytest.raises(ValidationError):
        NodeManagementConfig(success_window=10.0)
