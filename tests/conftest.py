"""Fixtures for every test: real sshd instances as nodes, and pools that log in to them."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = ["tests.support.sshd", "tests.support.pools"]

# How long an example takes says something about the machine, not about the code.
settings.register_profile("project", deadline=None)
settings.load_profile("project")
