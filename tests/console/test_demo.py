"""The demo when its subnet does not come up."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pytest

from basilica_tui.demo import run_demo
from engine.errors import LocalnetFailed


def test_the_log_that_is_named_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subnet that ends at once leaves its files, because the message sends people to them."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(LocalnetFailed) as failure:
        run_demo(None, nodes=1)
    log = Path(failure.value.hint.removeprefix("more in "))
    assert log.is_file() and tmp_path in log.parents
