"""The fault table names what is there, and leaves nothing out."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FAULTS = range(1, 49)
PAGE = (ROOT / "docs" / "faults.md").read_text()


def rows(part: str) -> dict[int, str]:
    """Each fault's row of one of the page's two tables; "30 to 34" and "35, 36" are rows of several."""
    found: dict[int, str] = {}
    for first, second, last, row in re.findall(r"^\| (\d+)(?:, (\d+)| to (\d+))? \|(.*)\|$", part, re.MULTILINE):
        numbers = range(int(first), int(last) + 1) if last else {int(first), int(second or first)}
        found |= {number: found.get(number, "") + row for number in numbers}
    return found


TABLE, ELSEWHERE = (rows(part) for part in PAGE.split("## Not here, and why"))


def sources(pattern: str) -> dict[str, str]:
    """The text of each test module by name; those of one name in several directories together."""
    found: dict[str, str] = {}
    for path in (ROOT / "tests").glob(pattern):
        found[path.stem] = found.get(path.stem, "") + path.read_text()
    return found


def test_every_fault_has_its_place() -> None:
    """All 48 are in the table or among those that other tests or nobody can produce, with the reason."""
    assert sorted({*TABLE, *ELSEWHERE}) == list(FAULTS)


def test_the_table_is_what_the_fault_tests_say_of_themselves() -> None:
    """A fault is marked in tests/faults, or its row names the tests elsewhere; no mark lacks its row."""
    marked = {
        int(number)
        for text in sources("faults/test_*.py").values()
        for numbers in re.findall(r"mark\.fault\(([\d, ]+)\)", text)
        for number in numbers.split(",")
    }
    assert marked - set(TABLE) == set()
    assert set(TABLE) - marked == {15}  # an old sshd: its banners in test_ssh_capability


def test_the_tests_that_the_page_names_exist() -> None:
    """Each module in it is a test module, and each function is in the module that is named before it."""
    texts = sources("*/test_*.py")
    functions = "\n".join(texts.values())
    for name in re.findall(r"`((?:test_|…)[\w.…*]+)`", PAGE):
        module, _, function = name.partition(".")
        if module.startswith("test_") and "*" not in module and "…" not in module:
            assert module in texts, name
            functions = texts[module]
        wanted = function if module.startswith("test_") else name
        parts = [re.escape(part) for part in wanted.split("…")]
        assert re.search(r"def \w*" + r"\w*".join(parts), functions), name
