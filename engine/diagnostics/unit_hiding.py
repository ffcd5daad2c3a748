"""What a unit's hardening keeps from the engine, and the lines of a drop-in that give it back. Pure.

systemd drops every bind below a directory that it makes inaccessible, as ``ProtectHome=yes`` and
``InaccessiblePaths=`` do: no later line shows a path there, only another value does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

Settings = Mapping[str, tuple[str, ...]]
HOMES = ("/home", "/root", "/run/user")
_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 - what PrivateTmp hides, nothing is written there
_YES = {"yes", "true", "on", "1"}


def hides(settings: Settings, path: str) -> str:
    """The setting that keeps a path from the service; empty when it stays visible."""
    barring = next((word for word in _words(settings, "InaccessiblePaths") if is_below(path, _bare(word))), "")
    if barring:
        return f"InaccessiblePaths={barring}"
    home, in_homes = _value(settings, "ProtectHome"), any(is_below(path, top) for top in HOMES)
    if in_homes and home in _YES:
        return f"ProtectHome={home}"
    if any(is_below(path, one) for one in _bound(settings, "BindReadOnlyPaths", "BindPaths")):
        return ""
    if in_homes and home == "tmpfs":
        return "ProtectHome=tmpfs"
    covered = next((word for word in _words(settings, "TemporaryFileSystem") if is_below(path, word.split(":")[0])), "")
    if covered:
        return f"TemporaryFileSystem={covered}"
    if _value(settings, "PrivateTmp") in _YES and any(is_below(path, top) for top in _TEMPORARY):
        return "PrivateTmp=yes"
    return ""


def showing(settings: Settings, path: str, data_dir: str) -> tuple[str, ...]:
    """Lines after which ``hides`` finds nothing; nothing that was visible or writable is lost by them."""
    said = hides(settings, path)
    if said.startswith("InaccessiblePaths="):
        kept = [word for word in _words(settings, "InaccessiblePaths") if not is_below(path, _bare(word))]
        lines = ["InaccessiblePaths=", *(f"InaccessiblePaths={word}" for word in kept)]
        left = {**settings, "InaccessiblePaths": tuple(kept)}
        return (*lines, *showing(left, path, data_dir))
    if said == "ProtectHome=tmpfs" or not said.startswith("ProtectHome="):
        return (f"BindReadOnlyPaths={path}",) if said else ()
    # An empty file system takes the place of the homes; what the engine writes there must go to the real one.
    own = [f"BindPaths={data_dir}"] if data_dir and any(is_below(data_dir, top) for top in HOMES) else []
    return ("ProtectHome=tmpfs", f"BindReadOnlyPaths={path}", *own)


def is_writable(settings: Settings, path: str) -> bool:
    """Whether ``ProtectSystem=strict`` leaves a directory writable."""
    words = [*_words(settings, "ReadWritePaths"), *_bound(settings, "BindPaths")]
    words += [f"/var/lib/{word}" for word in _words(settings, "StateDirectory")]
    return not path or any(is_below(path, _bare(word)) for word in words)


def is_below(path: str, top: str) -> bool:
    """Whether a path is that directory or in it; what is not absolute holds nothing."""
    return PurePosixPath(path).is_relative_to(top) if top.startswith("/") else False


def _bound(settings: Settings, *keys: str) -> Iterable[str]:
    """Where binds appear in the service's own view."""
    for key in keys:
        for word in _words(settings, key):
            parts = _bare(word).split(":")
            yield parts[1] if len(parts) > 1 and parts[1] else parts[0]


def _words(settings: Settings, key: str) -> Sequence[str]:
    return [word for text in settings.get(key, ()) for word in text.split()]


def _value(settings: Settings, key: str) -> str:
    return (settings.get(key) or ("no",))[-1].lower()


def _bare(word: str) -> str:
    return word.lstrip("-+")
