"""The part of YAML that compose files are written in: nested mappings and lists, plain and quoted scalars.

Everything is text. Anchors, tags and flow mappings are left as they stand; nothing is executed or looked up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

Yaml = str | list["Yaml"] | dict[str, "Yaml"]
_KEY = re.compile(r"""("[^"]*"|'[^']*'|[^\s#"'\[{][^#]*?)\s*:(?:\s+(.*))?$""")
_DEEPEST = 64


@dataclass(slots=True)
class _Line:
    indent: int
    text: str


def parse_yaml(text: str) -> Yaml:
    """The document; an empty mapping for an empty one. Raises ValueError for what this subset cannot hold."""
    lines = [_Line(len(raw) - len(raw.lstrip(" ")), body) for raw in text.splitlines() if (body := _bare(raw))]
    if not lines:
        return {}
    value, rest = _block(lines, 0, 0)
    if rest < len(lines):
        raise ValueError(f"unexpected indentation at {lines[rest].text!r}")
    return value


def _bare(raw: str) -> str:
    """The line without comment and blanks; empty for what says nothing."""
    text = raw.strip()
    if text.startswith("#") or text in ("---", "..."):
        return ""
    quote = ""
    for index, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and text[index - 1] in " \t":
            return text[:index].rstrip()
    return text


def _block(lines: list[_Line], start: int, depth: int) -> tuple[Yaml, int]:
    if depth > _DEEPEST:
        raise ValueError("nested too deeply")
    is_list = lines[start].text == "-" or lines[start].text.startswith("- ")
    return _list(lines, start, depth) if is_list else _mapping(lines, start, depth)


def _list(lines: list[_Line], start: int, depth: int) -> tuple[Yaml, int]:
    indent, items, at = lines[start].indent, [], start
    while at < len(lines) and lines[at].indent == indent and lines[at].text[:2].rstrip() == "-":
        inner = lines[at].text[1:].lstrip()
        if inner and _KEY.match(inner):
            # ``- key: value`` begins a mapping whose other keys stand below, in the column of the first.
            lines[at] = _Line(indent + len(lines[at].text) - len(inner), inner)
            value, at = _mapping(lines, at, depth + 1)
            items.append(value)
        elif inner:
            items.append(_scalar(inner))
            at += 1
        else:
            value, at = _nested(lines, at + 1, indent, depth)
            items.append(value)
    return items, at


def _mapping(lines: list[_Line], start: int, depth: int) -> tuple[Yaml, int]:
    indent, at = lines[start].indent, start
    found: dict[str, Yaml] = {}
    while at < len(lines) and lines[at].indent == indent:
        match = _KEY.match(lines[at].text)
        if match is None:
            raise ValueError(f"not understood: {lines[at].text!r}")
        key, value = str(_scalar(match[1])), (match[2] or "").strip()
        if value[:1] in ("|", ">"):
            at += 1
            while at < len(lines) and lines[at].indent > indent:
                at += 1
            found[key] = ""
        elif value and not re.fullmatch(r"[&!]\S+", value):
            found[key] = _scalar(value)
            at += 1
        else:
            found[key], at = _nested(lines, at + 1, indent, depth)
    return found, at


def _nested(lines: list[_Line], at: int, indent: int, depth: int) -> tuple[Yaml, int]:
    if at < len(lines):
        is_list_item = lines[at].text[:2].rstrip() == "-"
        if lines[at].indent > indent or (lines[at].indent == indent and is_list_item):
            return _block(lines, at, depth + 1)
    return "", at


def _scalar(text: str) -> Yaml:
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    if text.startswith("[") and text.endswith("]"):
        return [_scalar(part) for part in text[1:-1].split(",") if part.strip()]
    return text
