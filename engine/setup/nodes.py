"""GPU nodes as people have them: a list, a paste, a range, a network, an ssh command. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

from engine.errors import ConfigInvalid

MOST = 1024
"""Nodes out of one text: a mistyped prefix length must not become sixty thousand logins."""
_SPLIT = re.compile(r"[,;\n]+")
_SSH_COMMAND = re.compile(r"^ssh\s+(.*)$")
_BRACKETS = re.compile(r"\[(\d+)-(\d+)\]")
_RANGE = re.compile(r"^((?:\d{1,3}\.){3})(\d{1,3})-(\d{1,3})$")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}\$?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """One node to be. ``name`` is a label for people and may be empty."""

    username: str
    host: str
    port: int
    name: str = ""

    @property
    def text(self) -> str:
        """``user@host:port`` as node ids are made from."""
        return f"{self.username}@{self.host}:{self.port}"


def parse_nodes(text: str, *, username: str, port: int = 22) -> tuple[NodeEntry, ...]:
    """Every node that a text names, in its order and once each.

    Understands ``host``, ``host:port``, ``user@host:port``, ``[v6]:port``, ``ssh -p 2222 user@host``, ``10.0.0.10-14``,
    ``gpu-[01-08]`` and ``10.0.0.0/28`` (its hosts), separated by blanks, commas or lines; ``#`` starts a comment.

    Raises:
        ConfigInvalid: with one sentence per word that is none of these.
    """
    found: dict[str, NodeEntry] = {}
    problems: list[str] = []
    for word in _words(text):
        try:
            for entry in _entries(word, username, port):
                found.setdefault(entry.text, entry)
        except ValueError as error:
            problems.append(f"'{word[:80]}': {error}")
        if len(found) > MOST:
            problems.append(f"more than {MOST} nodes; is a prefix length too short?")
            break
    if problems:
        raise ConfigInvalid(problems[0], problems=tuple(problems))
    return tuple(found.values())


def one_line(text: str) -> str:
    """Several pasted lines of nodes as one, for a field of one line: comments would hide all that follows them."""
    pieces = (line.partition("#")[0].strip(" \t,;") for line in text.splitlines())
    return ", ".join(piece for piece in pieces if piece)


def parse_node(text: str, *, username: str, port: int = 22) -> NodeEntry:
    """Exactly one node. Raises ConfigInvalid."""
    entries = parse_nodes(text, username=username, port=port)
    if len(entries) != 1:
        raise ConfigInvalid(f"'{text}' names {len(entries)} nodes, and one is wanted")
    if not entries[0].username:
        raise ConfigInvalid(f"'{text}' names no account", hint="write USER@HOST or USER@HOST:PORT")
    return entries[0]


def is_host(text: str) -> bool:
    """Whether it is one host's name or address, and no pattern."""
    return bool(_HOST.fullmatch(text)) or _is_ip(text)


def is_account(text: str) -> bool:
    """Whether it can be an account's name."""
    return bool(_USER.fullmatch(text))


def _words(text: str) -> Iterator[str]:
    for line in text.splitlines():
        for part in _SPLIT.split(line.partition("#")[0]):
            piece = part.strip()
            if _SSH_COMMAND.match(piece):
                yield piece
            else:
                yield from piece.split()


def _entries(word: str, username: str, port: int) -> Iterator[NodeEntry]:
    command = _SSH_COMMAND.match(word)
    if command is not None:
        yield from _ssh_command(command[1].split(), username, port)
        return
    user, at, rest = word.rpartition("@")
    if at and not _USER.fullmatch(user):
        raise ValueError("the part before @ is no account's name")
    host, found_port = _host_and_port(rest, port)
    for one in _hosts(host):
        yield NodeEntry(user or username, one, found_port)


def _ssh_command(words: list[str], username: str, port: int) -> Iterator[NodeEntry]:
    rest: list[str] = []
    options = iter(words)
    for word in options:
        if word == "-p":
            port = int(next(options, "0"))
        elif word == "-l":
            username = next(options, username)
        elif word in ("-i", "-o", "-J", "-F"):
            next(options, None)
        elif not word.startswith("-"):
            rest.append(word)
    if not rest:
        raise ValueError("this ssh command names no host")
    yield from _entries(rest[0], username, port)


def _host_and_port(text: str, port: int) -> tuple[str, int]:
    if text.startswith("[") and "]" in text and ":" in text.partition("]")[0]:
        host, _, rest = text[1:].partition("]")
        text, digits = host, rest.removeprefix(":")
    elif text.count(":") > 1:
        return text, port  # IPv6 without brackets has no port
    else:
        text, _, digits = text.partition(":")
    if not digits:
        return text, port
    if not digits.isdigit() or not 0 < int(digits) < 65536:
        raise ValueError(f"{digits!r} is no port from 1 to 65535")
    return text, int(digits)


def _hosts(host: str) -> Iterator[str]:
    if "/" in host:
        network = ipaddress.ip_network(host, strict=False)
        if network.num_addresses > MOST + 2:
            raise ValueError(f"{network.num_addresses} addresses are too many; at most {MOST}")
        yield from map(str, network.hosts())
        return
    span = _RANGE.match(host)
    if span is not None:
        first, last = int(span[2]), int(span[3])
        if not first <= last <= 255:
            raise ValueError("the range ends before it begins, or beyond 255")
        yield from (f"{span[1]}{number}" for number in range(first, last + 1))
        return
    brackets = _BRACKETS.search(host)
    if brackets is not None:
        first, last, width = int(brackets[1]), int(brackets[2]), len(brackets[1])
        if not first <= last < first + MOST:
            raise ValueError("the range ends before it begins, or is too long")
        for number in range(first, last + 1):
            yield from _hosts(f"{host[: brackets.start()]}{number:0{width}}{host[brackets.end() :]}")
        return
    if not (_is_ip(host) or (_HOST.fullmatch(host) and not _is_broken_ip(host))):
        raise ValueError("is no host name, address, range or network")
    yield host


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_broken_ip(text: str) -> bool:
    return bool(re.fullmatch(r"[\d.]+", text))
