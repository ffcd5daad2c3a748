"""Whether the user that a service runs as may use what the engine needs, by owner, group and mode of the files.

A hardened service of root has no capabilities, so root counts like everybody else here.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

from engine.deployment.needs import EngineNeeds, Need

_READ, _WRITE, _ENTER = 4, 2, 1


def barred(needs: EngineNeeds, user: str) -> tuple[Need, ...]:
    """What is there and that user may not use; nothing for a user who does not exist."""
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return ()
    groups = {entry.pw_gid, *(group.gr_gid for group in grp.getgrall() if user in group.gr_mem)}
    return tuple(need for need in needs.needs if not _may_use(need, entry.pw_uid, groups))


def owner_words(path: Path) -> str:
    """Owner and mode, as a person would look them up."""
    found = path.stat()
    try:
        name = pwd.getpwuid(found.st_uid).pw_name
    except KeyError:
        name = str(found.st_uid)
    return f"{name}, mode {stat.S_IMODE(found.st_mode):04o}"


def _may_use(need: Need, uid: int, groups: set[int]) -> bool:
    try:
        found = need.path.stat()
    except OSError:
        return True  # not there yet, which others say
    if stat.S_ISDIR(found.st_mode):
        inside = _files_in(need.path) if need.writable else ()
        wanted = _READ | _ENTER | (_WRITE if need.writable else 0)
        return _grants(found, uid, groups, wanted) and all(_grants(one, uid, groups, _READ | _WRITE) for one in inside)
    return _grants(found, uid, groups, _READ | (_WRITE if need.writable else 0))


def _files_in(folder: Path) -> list[os.stat_result]:
    """Plain files directly below, such as a database and its log."""
    try:
        found = [entry.stat(follow_symlinks=False) for entry in os.scandir(folder)]
    except OSError:
        return []
    return [one for one in found if stat.S_ISREG(one.st_mode)]


def _grants(found: os.stat_result, uid: int, groups: set[int], wanted: int) -> bool:
    shift = 6 if found.st_uid == uid else 3 if found.st_gid in groups else 0
    return (found.st_mode >> shift) & wanted == wanted
