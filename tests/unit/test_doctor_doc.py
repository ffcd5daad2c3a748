"""The doctor's page is generated, never trusted."""

from __future__ import annotations

import re

from tests.doctor_doc import PAGE, tables
from tests.gallery.host_situations import HOST_SITUATIONS
from tests.gallery.node_situations import NODE_SITUATIONS


def test_the_page_shows_the_checks_that_exist() -> None:
    """Its tables are those of the program and of the gallery (``python -m tests.doctor_doc`` writes them)."""
    text = PAGE.read_text()

    for name, table in tables().items():
        shown = re.search(rf"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", text, re.DOTALL)
        assert shown is not None
        assert shown[1] == table, name


def test_the_gallery_is_large_and_its_names_are_unique() -> None:
    """At least sixty situations; what is not repaired says why."""
    situations = (*NODE_SITUATIONS, *HOST_SITUATIONS)

    assert len(situations) >= 60
    assert len({one.name for one in situations}) == len(situations)
    assert all(one.repaired or one.why_not for one in situations)
