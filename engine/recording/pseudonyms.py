"""Stand-ins for names: addresses, hosts, users, hotkeys, ids; the same name gets the same stand-in everywhere.

What is known to be a name, because it stands in a field that holds one, is learned first and replaced wherever it
occurs, also inside sentences. Addresses, hotkeys, ids, key fingerprints and URLs are recognised by their form too.
Stand-ins are numbers in the order of appearance: nothing of a name is left that could be tried out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from math import floor, log10
from typing import Final

_KIND_OF_FIELD: Final[Mapping[str, str]] = {
    "host": "host", "hostname": "host", "username": "user", "user": "user", "label": "node", "name": "engine",
}  # fmt: skip
_UID_FIELDS: Final = frozenset({"uid", "own_uid", "miner_uid", "assigned_uid"})
_ROUNDED: Final = frozenset({"stake_tao", "own_stake_tao", "assigned_stake_tao", "incentive", "own_incentive",
                             "emission", "own_emission"})  # fmt: skip
"""Public figures of the chain by which a hotkey could be found; two digits say enough about what happened."""
_COMMON: Final = frozenset(
    {"miner", "validator", "root", "localhost", "default", "engine", "operator", "basilica", "ubuntu", "debian",
     "admin", "user", "node", "host", "gpu", "test", "local", "finney"}
)  # fmt: skip
"""Words that name nobody; replacing them in sentences would hide what happened."""
_KEPT_FIELDS: Final = frozenset({"kind", "severity", "level", "build"})
_KEPT_ADDRESSES: Final = frozenset({"0.0.0.0", "127.0.0.1", "::1", "::"})

_SECRET = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL)
_PUBLIC_KEY = re.compile(r"\b(?:ssh-(?:ed25519|rsa|dss)|ecdsa-sha2-\S+)\s+AAAA[A-Za-z0-9+/=]+(?:\s+[^\s\"\\]+)?")
_FINGERPRINT = re.compile(r"\bSHA256:[A-Za-z0-9+/]{20,}=*|\bMD5(?::[0-9a-f]{2}){16}")
_URL = re.compile(r"\b([a-z][a-z0-9+.-]*)://[^\s\"'<>\\]+", re.IGNORECASE)
_SS58 = re.compile(r"(?<![A-Za-z0-9])[1-9A-HJ-NP-Za-km-z]{46,49}(?![A-Za-z0-9])")
_LONG_HEX = re.compile(r"(?<![A-Za-z0-9])(?:0x)?[0-9a-f]{64,}(?![A-Za-z0-9])", re.IGNORECASE)
_UUID = re.compile(r"(?<![0-9a-f])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f])", re.IGNORECASE)
_AT = re.compile(r"(?<![\w.-])([A-Za-z_][\w.-]{0,63})@([A-Za-z0-9][\w.-]*|\[[0-9A-Fa-f:.]+\])")
_IPV4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_HOST_NAME = re.compile(
    r"(?<![\w.@/-])(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+"
    r"(?:com|net|org|info|cloud|tech|site|online|host|xyz|dev|app|lan|local|internal|intern|home|corp|"
    r"(?!py|sh|md|db|rs|so|gz|id|at|ok)[a-z]{2})(?![\w-])",
    re.IGNORECASE,
)
_HOME = re.compile(r"/(home|Users)/([^/\s:\"'\\]+)((?:/[^/\s:,;\"'\\)]+)*)")
_PATH = re.compile(r"(?<![\w.~/:-])(?:~(?=/)|(?=/))(?:/[^/\s:,;\"'\\()\[\]]+){2,}/?")
_KEPT_PATHS: Final = (
    "/etc/ssh", "/usr/", "/proc/", "/sys/", "/dev/", "/bin/", "/sbin/", "/lib", "/run/systemd", "/var/run/docker.sock",
    "/var/lib/docker", "/root/.ssh/authorized_keys", "~/.ssh/authorized_keys", "/home/user-", "/Users/user-",
)  # fmt: skip
"""Places that are the same on every machine, or that have their stand-in already."""
_KEPT_TAILS: Final = ("/.ssh", "/.ssh/authorized_keys", "/.ssh/authorized_keys2")
_UID_WORDS = re.compile(r"\b(uid[s:= ]+)(\d+)\b", re.IGNORECASE)
_ACTOR = re.compile(r"^(\S+) \(pid \d+\)$")


class Pseudonyms:
    """One set of stand-ins. ``learn`` everything first, then replace."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, str]] = {}
        self._words: re.Pattern[str] | None = None
        self._literals: dict[str, str] = {}
        self._seen: dict[str, str] = {}

    # --- learning -------------------------------------------------------------------------------------------------

    def learn(self, value: object, field: str = "") -> None:
        """Take in the names that stand in fields known to hold them, however deep."""
        if isinstance(value, Mapping):
            for name, inner in value.items():
                self.learn(inner, str(name))
        elif isinstance(value, list | tuple):
            for inner in value:
                self.learn(inner, field)
        elif isinstance(value, str) and value:
            kind = _KIND_OF_FIELD.get(field)
            actor = _ACTOR.match(value) if field == "actor" else None
            if actor is not None:
                self._learn_name("user", actor[1])
            elif kind is not None and not _address(value):
                self._learn_name(kind, value)

    def _learn_name(self, kind: str, name: str) -> None:
        stand_in = self._of(kind, name)
        if len(name) >= 3 and name.lower() not in _COMMON and name not in self._literals:
            self._literals[name] = stand_in
            self._words = None
            self._seen.clear()

    # --- replacing ------------------------------------------------------------------------------------------------

    def value(self, value: object, field: str = "") -> object:
        """A copy without names."""
        if isinstance(value, Mapping):
            return {self.text(str(name)): self.value(inner, str(name)) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner, field) for inner in value]
        if isinstance(value, bool) or value is None or (field in _KEPT_FIELDS and isinstance(value, str)):
            return value
        if isinstance(value, int | float):
            return self._number(value, field)
        text = str(value)
        kind = _KIND_OF_FIELD.get(field)
        if kind is not None and text and not _address(text):
            return self._of(kind, text)
        return self.text(text)

    def text(self, text: str) -> str:
        """A sentence without names."""
        known = self._seen.get(text)
        if known is None:
            known = self._seen[text] = self._replace(text)
            if len(self._seen) > 100_000:
                self._seen.clear()
        return known

    def leaks(self, text: str) -> list[str]:
        """Names that are in a text that should have none, by form and by what was learned; empty is good."""
        found = [m for m in _SS58.findall(text) if not m.startswith("5Redacted")]
        found += [m for m in _UUID.findall(text) if not m.startswith("00000000-0000-4000-8000-")]
        found += [m for m in _IPV4.findall(text) if m not in _KEPT_ADDRESSES and not m.startswith("198.18.")]
        stand_ins = {s for names in self._known.values() for s in names.values()}
        if self._words is not None:
            found += [m for m in self._words.findall(text) if m not in stand_ins]
        return found

    def count(self, kind: str) -> int:
        """How many names of a kind were met."""
        return len(self._known.get(kind, {}))

    def _number(self, value: float, field: str) -> object:
        if field in _UID_FIELDS:
            return int(self._of("uid", str(value)))
        if field in _ROUNDED and value:
            return round(value, 1 - floor(log10(abs(value))))
        return value

    def _replace(self, text: str) -> str:
        steps: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
            (_SECRET, lambda _: "[hidden]"),
            (_PUBLIC_KEY, lambda m: self._of("key", m[0])),
            (_FINGERPRINT, lambda m: self._of("fingerprint", m[0])),
            (_URL, lambda m: f"{m[1]}://{self._of('url', m[0])}"),
            (_SS58, lambda m: self._of("hotkey", m[0])),
            (_LONG_HEX, lambda m: self._of("hex", m[0].lower())),
            (_UUID, lambda m: self._of("uuid", m[0].lower())),
            (_AT, lambda m: f"{self._of('user', m[1])}@{self._of_host(m[2])}"),
            (_IPV4, lambda m: self._of_host(m[0])),
            (_IPV6, lambda m: self._of_host(m[0]) if _address(m[0]) else m[0]),
            (_HOST_NAME, lambda m: self._of("host", m[0])),
            (_HOME, lambda m: f"/{m[1]}/{self._of('user', m[2])}{self._of_tail(m[3])}"),
            (_PATH, lambda m: m[0] if m[0].startswith(_KEPT_PATHS) else self._of("path", m[0].rstrip("/"))),
            (_UID_WORDS, lambda m: f"{m[1]}{self._of('uid', m[2])}"),
        )
        for pattern, stand_in in steps:
            text = pattern.sub(stand_in, text)
        if self._literals:
            if self._words is None:
                longest = sorted(self._literals, key=len, reverse=True)
                self._words = re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, longest))})(?![\w-])")
            text = self._words.sub(lambda m: self._literals[m[0]], text)
        return text

    def _of_tail(self, tail: str) -> str:
        return tail if not tail or tail in _KEPT_TAILS else self._of("path", tail)

    def _of_host(self, name: str) -> str:
        address = _address(name.strip("[]"))
        if not address:
            return name if name.lower() in _COMMON or _is_stand_in(name) else self._of("host", name)
        if address in _KEPT_ADDRESSES or address.startswith("198.18."):
            return name
        return self._of("ipv6" if ":" in address else "ipv4", address)

    def _of(self, kind: str, name: str) -> str:
        names = self._known.setdefault(kind, {})
        if name not in names:
            names[name] = _STAND_INS[kind](len(names) + 1)
        return names[name]


def hide_keys(text: str) -> str:
    """A text without the private keys that stand in it, whatever else may stay readable."""
    return _SECRET.sub("[hidden]", text)


def _is_stand_in(name: str) -> bool:
    return re.fullmatch(r"(?:host|node|user|engine)-\d+", name) is not None


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


_STAND_INS: Final[Mapping[str, Callable[[int], str]]] = {
    "host": lambda n: f"host-{n}",
    "user": lambda n: f"user-{n}",
    "node": lambda n: f"node-{n}",
    "engine": lambda n: f"engine-{n}",
    "uid": str,
    "hotkey": lambda n: f"5Redacted{'x' * 35}{n:04d}",
    "uuid": lambda n: f"00000000-0000-4000-8000-{n:012d}",
    "ipv4": lambda n: f"198.18.{n // 256 % 256}.{n % 256}",
    "ipv6": lambda n: f"fd00::{n:x}",
    "fingerprint": lambda n: f"SHA256:fingerprint-{n}",
    "key": lambda n: f"[public key {n}]",
    "url": lambda n: f"url-{n}",
    "path": lambda n: f"/path-{n}",
    "hex": lambda n: f"[hex {n}]",
}
