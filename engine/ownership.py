"""What root makes among somebody's files belongs to whoever owns the directory, so that an engine can use it."""

from __future__ import annotations

import os
from pathlib import Path


def make_private_directory(path: Path) -> None:
    """The directory with what is missing above it, for its owner alone. Raises OSError."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    for made in reversed(missing):
        take_after_directory(made)


def take_after_directory(path: Path) -> None:
    """Give it to the owner of its directory; only root can, and nobody else has to. Raises OSError."""
    if os.geteuid() == 0:
        above = path.parent.stat()
        os.chown(path, above.st_uid, above.st_gid, follow_symlinks=False)
