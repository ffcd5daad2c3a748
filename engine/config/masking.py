"""Hiding secrets in whatever shows a configuration to people."""

from __future__ import annotations

import re
from collections.abc import Mapping

MASK = "********"
_SECRET = re.compile(r"password|passwd|secret|token|api_key|mnemonic|seed|private_key$|^urls(\[\d+\])?$", re.IGNORECASE)
# A slash in a password should be percent-encoded, and often is not; then everything to the last @ is hidden.
_URL_PASSWORD = re.compile(r"(?P<head>[a-z][a-z0-9+.-]*://[^/\s:@]*:)(?:[^/\s]*(?=@)|[^\s\"'<>,]*(?=@))", re.IGNORECASE)
_QUERY_SECRET = re.compile(r"(?P<head>[?&](?:password|token|api_?key|key|secret)=)[^&\s]+", re.IGNORECASE)


def mask_config(data: Mapping[str, object]) -> dict[str, object]:
    """A copy of nested configuration data in which secrets and passwords in URLs are replaced by stars."""
    return {key: mask_value(key, value) for key, value in data.items()}


def mask_value(key: str, value: object) -> object:
    """One value, masked according to its (dotted) key and, for text, its content."""
    if isinstance(value, Mapping):
        return {str(name): mask_value(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [mask_value(key, inner) for inner in value]
    if not isinstance(value, str) or not value:
        return value
    name = key.rsplit(".", 1)[-1]
    # Paths of secret files are no secrets, and an operator needs to see them.
    if _SECRET.search(name) and not name.endswith(("_file", "_path", "_dir")):
        return MASK
    return mask_text(value)


def mask_text(text: str) -> str:
    """Text with the passwords of its URLs replaced by stars."""
    return _QUERY_SECRET.sub(rf"\g<head>{MASK}", _URL_PASSWORD.sub(rf"\g<head>{MASK}", text))
