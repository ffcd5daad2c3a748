"""Documentation is tested, never trusted."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from basilica_tui.bindings import bindings_markdown

ROOT = Path(__file__).parents[2]


def test_the_readme_shows_the_keys_that_exist() -> None:
    """The table between the markers is the one binding table (``python -m tests.readme_keys`` writes it)."""
    shown = re.search(r"<!-- keys -->\n(.*?)<!-- /keys -->", (ROOT / "README.md").read_text(), re.DOTALL)

    assert shown is not None
    assert shown[1].strip() == bindings_markdown().strip()


def test_every_dependency_has_its_reason() -> None:
    """Each declared dependency is named in docs/dependencies.md."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    reasons = (ROOT / "docs" / "dependencies.md").read_text()
    declared = project["dependencies"] + project["optional-dependencies"]["dev"]
    names = [re.split(r"[\[<>=]", entry)[0] for entry in declared]

    assert [name for name in names if name not in reasons] == []


def test_pictures_named_in_the_documents_exist() -> None:
    """No document shows a picture that is not there."""
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_links_between_the_documents_lead_somewhere() -> None:
    """Relative links in the documents name files that exist."""
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page}: {target}"
