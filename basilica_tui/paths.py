"""Where the style sheets are: inside the package in a wheel, beside it in an editable checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def styles_folder(package: Path = _PACKAGE) -> Path:
    """The folder that holds ``console.tcss``.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    for folder in (package / "styles", package.parent / "styles"):
        if (folder / "console.tcss").is_file():
            return folder
    raise FileNotFoundError(f"console.tcss is neither in {package / 'styles'} nor in {package.parent / 'styles'}")
