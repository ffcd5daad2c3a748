"""From the plain values of a JSON document to category scores. No file is touched here."""

from __future__ import annotations

import math
from collections.abc import Mapping

from engine.errors import ScoresInvalid
from engine.validator.scoring.allocation import MAX_SCORE
from engine.validator.scoring.emission import MAX_UID

_SHAPE = '{"categories": {"H100": [[uid, score], ...]}}'
_LONGEST_VALUE = 60


def read_ranking(document: object) -> dict[str, tuple[tuple[int, float], ...]]:
    """The scores of ``{"categories": {"H100": [[uid, score], ...]}}``, in the order of the document.

    Raises ScoresInvalid with one problem for each wrong place, each with key, value and what to do.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("categories"), Mapping):
        found = document.get("categories", document) if isinstance(document, Mapping) else document
        raise ScoresInvalid("the scores cannot be used", problems=(f"categories = {_shown(found)}: write {_SHAPE}",))
    problems: list[str] = []
    ranking: dict[str, tuple[tuple[int, float], ...]] = {}
    for name, entries in document["categories"].items():
        category = str(name).strip().upper()
        key = f"categories.{name}"
        if category in ranking:
            problems.append(f"{key}: the category is named twice; keep one")
        elif not isinstance(entries, list):
            problems.append(f"{key} = {_shown(entries)}: write a list of [uid, score]")
        else:
            ranking[category] = _entries(key, entries, problems)
    if problems:
        raise ScoresInvalid("the scores cannot be used", problems=tuple(problems))
    return ranking


def _entries(key: str, entries: list[object], problems: list[str]) -> tuple[tuple[int, float], ...]:
    seen: dict[int, float] = {}
    for place, entry in enumerate(entries):
        where = f"{key}[{place}]"
        if not isinstance(entry, list) or len(entry) != 2:
            problems.append(f"{where} = {_shown(entry)}: write [uid, score]")
            continue
        uid, score = entry
        if not isinstance(uid, int) or isinstance(uid, bool) or not 0 <= uid <= MAX_UID:
            problems.append(f"{where} uid = {_shown(uid)}: write a whole number from 0 to {MAX_UID}")
        elif uid in seen:
            problems.append(f"{where} uid = {uid}: this uid is already in the category; keep one")
        elif not _is_score(score):
            problems.append(f"{where} score = {_shown(score)}: write a number from 0 to {MAX_SCORE:g}")
        else:
            seen[uid] = float(score)
    return tuple(seen.items())


def _is_score(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return math.isfinite(value) and 0 <= value <= MAX_SCORE if isinstance(value, float) else 0 <= value <= MAX_SCORE


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
