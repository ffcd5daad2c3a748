"""From the plain values of a TOML table to checked emission settings. No file is touched here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from engine.errors import ConfigInvalid
from engine.validator.scoring.emission import CategoryRule, Emission

_NUMBERS = ("burn_percentage",)
_WHOLE_NUMBERS = ("burn_uid", "min_miners_per_category", "weight_set_interval_blocks", "weight_version_key")
_TOO_LARGE = 1e300  # and so is an integer that no float can hold; nan and inf end here as well
_RULE_KEYS = ("weight", "min_gpu_count", "min_gpu_vram")


@dataclass(slots=True)
class _Reading:
    """One pass over a table: values that have the right type, and a sentence for each that has not."""

    prefix: str
    problems: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def number(self, key: str, value: object) -> float | None:
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _TOO_LARGE:
            return float(value)
        self.problems.append(f"{self.prefix}{key} = {_shown(value)}: write an ordinary number")
        return None

    def whole(self, key: str, value: object) -> int | None:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        self.problems.append(f"{self.prefix}{key} = {_shown(value)}: write a whole number")
        return None


def read_emission(table: Mapping[str, object], *, prefix: str = "emission.") -> tuple[Emission, tuple[str, ...]]:
    """The settings and the names of unknown keys (which have no effect).

    A category's value is a number (its percentage) or a table of ``weight``, ``min_gpu_count``, ``min_gpu_vram``.
    Raises ConfigInvalid with one problem for each wrong type or violated rule.
    """
    reading = _Reading(prefix)
    values: dict[str, object] = {}
    for key, value in table.items():
        if key == "gpu_allocations":
            values[key] = _allocations(reading, value)
        elif key in _NUMBERS:
            _keep(values, key, value, reading.number)
        elif key in _WHOLE_NUMBERS:
            _keep(values, key, value, reading.whole)
        else:
            reading.unknown.append(f"{prefix}{key}")
    emission = Emission(**values)  # type: ignore[arg-type]  # each value was checked against its key above
    key = f"{prefix}gpu_allocations"
    has_all_categories = not any(sentence.startswith(key) for sentence in reading.problems)
    problems = (
        *reading.problems,
        *emission.scalar_problems(prefix),
        *emission.category_problems(key),
        # Without the misread categories the sum means nothing; one mistake is one sentence.
        *(emission.total_problems(key) if has_all_categories else ()),
    )
    if problems:
        raise ConfigInvalid("the emission settings cannot be used", problems=problems)
    return emission, tuple(reading.unknown)


def _keep(values: dict[str, object], key: str, value: object, read: Callable[[str, object], object]) -> None:
    checked = read(key, value)
    if checked is not None:
        values[key] = checked


def _allocations(reading: _Reading, value: object) -> dict[str, CategoryRule]:
    if not isinstance(value, Mapping):
        reading.problems.append(
            f"{reading.prefix}gpu_allocations = {_shown(value)}: write a table, one category a line, such as H100 = 100"
        )
        return {}
    rules: dict[str, CategoryRule] = {}
    for name, entry in value.items():
        category = str(name).strip().upper()
        key = f"gpu_allocations.{name}"
        if not category or category in rules:
            problem = "is named twice; keep one" if category else "has no name; write the GPU category"
            reading.problems.append(f"{reading.prefix}{key} = {_shown(entry)}: the category {problem}")
            continue
        rule = _rule(reading, key, entry)
        if rule is not None:
            rules[category] = rule
    return rules


def _rule(reading: _Reading, key: str, entry: object) -> CategoryRule | None:
    if not isinstance(entry, Mapping):
        weight = reading.number(key, entry)
        return None if weight is None else CategoryRule(weight)
    reading.unknown.extend(f"{reading.prefix}{key}.{name}" for name in entry if name not in _RULE_KEYS)
    if "weight" not in entry:
        reading.problems.append(f"{reading.prefix}{key}.weight is missing: write the category's percentage")
        return None
    weight = reading.number(f"{key}.weight", entry["weight"])
    count = reading.whole(f"{key}.min_gpu_count", entry.get("min_gpu_count", 1))
    vram = reading.whole(f"{key}.min_gpu_vram", entry["min_gpu_vram"]) if "min_gpu_vram" in entry else None
    if weight is None or count is None:
        return None
    return CategoryRule(weight, count, vram)


def _shown(value: object) -> str:
    """The value as text, short enough for one line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
