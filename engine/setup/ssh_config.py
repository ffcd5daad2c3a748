"""Hosts of an OpenSSH client configuration as nodes: Include, patterns and ``Host *`` as ssh reads them. Pure but for
``read_ssh_config``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from engine.setup.nodes import MOST, NodeEntry, is_account, is_host

DEEPEST = 16
"""Include within Include, as in ssh."""
MOST_FILES, MOST_LINES = 64, 5000
LARGEST = 256 * 1024
NO_NODES = frozenset({"github.com", "gitlab.com", "bitbucket.org"})
Include = Callable[[str], Iterable[str]]
"""An Include's pattern to the texts of the files that it names."""


@dataclass(frozen=True, slots=True)
class SshHosts:
    """What is in the file. ``behind`` are names reached through a jump host: validators have no such way."""

    entries: tuple[NodeEntry, ...]
    behind: tuple[str, ...] = ()
    identities: tuple[str, ...] = ()
    """Key files that it names, as written, without patterns in them."""


@dataclass(frozen=True, slots=True)
class _Line:
    patterns: tuple[str, ...]
    key: str
    value: str


def read_ssh_config(path: Path, *, username: str) -> SshHosts:
    """The hosts of a file and of what it includes. Raises OSError for the file itself."""
    left = MOST_FILES

    def include(pattern: str) -> Iterator[str]:
        nonlocal left
        place = Path(pattern).expanduser()
        base = Path("/") if place.is_absolute() else path.parent
        for file in sorted(base.glob(str(place.relative_to("/") if place.is_absolute() else place))):
            left -= 1
            if left < 0:
                return
            try:
                yield _text_of(file)
            except OSError:
                continue  # as ssh does

    return parse_ssh_config(_text_of(path), username=username, include=include)


def parse_ssh_config(text: str, *, username: str, include: Include = lambda _: ()) -> SshHosts:
    """Every host that is named without a pattern; of a key the first value that applies to it counts, as in ssh."""
    lines = list(islice(_lines(text, ("*",), include, DEEPEST), MOST_LINES))
    written = (p for line in lines if line.key == "host" for p in line.patterns if is_host(p))
    names = islice(dict.fromkeys(written), MOST)
    entries: dict[str, NodeEntry] = {}
    behind: list[str] = []
    for name in names:
        found: dict[str, str] = {}
        for line in lines:
            if line.key != "host" and _applies(line.patterns, name):
                found.setdefault(line.key, line.value)
        entry = _entry(name, found, username)
        if entry.host in NO_NODES:
            continue
        if any(found.get(key, "none").lower() != "none" for key in ("proxyjump", "proxycommand")):
            behind.append(name)
        else:
            entries.setdefault(entry.text, entry)
    identities = dict.fromkeys(one.value for one in lines if one.key == "identityfile" and "%" not in one.value)
    return SshHosts(tuple(entries.values()), tuple(behind), tuple(identities))


def _lines(text: str, patterns: tuple[str, ...], include: Include, depth: int) -> Iterator[_Line]:
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        key, _, value = line.replace("=", " ", 1).replace("\t", " ").partition(" ")
        key, value = key.lower(), value.strip().strip('"')
        if key == "host":
            patterns = tuple(value.split())
            yield _Line(patterns, key, "")
        elif key == "match":
            patterns = _match(value.split())
        elif key == "include":
            for inner in (one for word in value.split() for one in include(word.strip('"'))) if depth else ():
                yield from _lines(inner, patterns, include, depth - 1)
        else:
            yield _Line(patterns, key, value)


def _match(words: list[str]) -> tuple[str, ...]:
    """Of Match only what can be known without a connection; everything else applies to nobody."""
    if [word.lower() for word in words] == ["all"]:
        return ("*",)
    if len(words) == 2 and words[0].lower() in ("host", "originalhost"):
        return tuple(words[1].split(","))
    return ()


def _applies(patterns: tuple[str, ...], name: str) -> bool:
    if any(p.startswith("!") and fnmatchcase(name, p[1:]) for p in patterns):
        return False
    return any(not p.startswith("!") and fnmatchcase(name, p) for p in patterns)


def _entry(name: str, found: dict[str, str], username: str) -> NodeEntry:
    host = found.get("hostname", "").replace("%h", name)
    user, port = found.get("user", ""), found.get("port", "")
    return NodeEntry(
        user if is_account(user) else username,
        host if is_host(host) else name,
        int(port) if port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536 else 22,
        name,
    )


def _text_of(file: Path) -> str:
    with file.open("rb") as opened:
        return opened.read(LARGEST).decode("utf-8", "replace")
