"""Where the files are that ship with the product: ``policies/...`` and ``envoy/...``.

An installed wheel carries them inside the package; a checkout has them beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).resolve().parent.parent


def asset(name: str, package: Path = PACKAGE) -> Path:
    """Find a shipped file or folder by its path from the root of the repository, such as ``policies/default.yaml``.

    Raises:
        FileNotFoundError: this installation does not have it.
    """
    packaged = package / "assets"
    path = (packaged if packaged.is_dir() else package.parent) / name
    if not path.exists():
        raise FileNotFoundError(f"this installation has no {name}")
    return path
