"""Where ``deploy/`` is: inside the package in a wheel, at the root of an editable checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
UNIT = "basilica-tui@.service"


def deploy_folder(package: Path = _PACKAGE) -> Path:
    """The folder with units, containers, rules and dashboards.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    for folder in (package / "deploy", package.parents[1] / "deploy"):
        if (folder / "systemd" / UNIT).is_file():
            return folder
    raise FileNotFoundError(f"deploy/systemd/{UNIT} is neither in {package} nor in {package.parents[1]}")


def unit_text(*, for_user: bool) -> str:
    """The template unit, for the system or for one user."""
    folder = deploy_folder() / "systemd"
    return ((folder / "user" if for_user else folder) / UNIT).read_text(encoding="utf-8")
