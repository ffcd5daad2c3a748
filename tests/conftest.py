"""Fixtures for every test: real sshd instances as nodes, and pools that log in to them."""

from __future__ import annotations

import pytest
from hypothesis import settings

pytest_plugins = ["tests.support.sshd", "tests.support.pools", "tests.support.postgres", "tests.support.workers"]

# How long an example takes says something about the machine, not about the code.
settings.register_profile("project", deadline=None)
settings.load_profile("project")


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Keys are made anew in each process: their text must not name a test, or workers disagree on the names."""
    return argname if isinstance(val, str) and "AAAA" in val else None
