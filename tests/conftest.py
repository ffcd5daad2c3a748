"""Fixtures for every test: real sshd instances as nodes, and pools that log in to them."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.nursery import Nursery

pytest_plugins = [f"tests.support.{name}" for name in ("sshd", "pools", "postgres", "subnets", "workers")]

# A shell gives what it starts in the background an ignored SIGINT, which every engine and console would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says something about the machine, not about the code.
settings.register_profile("project", deadline=None)
settings.load_profile("project")


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """The parent of engines: each is a fork, and costs no imports."""
    parent = Nursery()
    yield parent
    parent.close()


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Keys are made anew in each process: their text must not name a test, or workers disagree on the names."""
    return argname if isinstance(val, str) and "AAAA" in val else None
