from __future__ import annotations

from pathlib import Path

import pytest

from extproc.runtime.assets import asset


def test_a_checkout_has_its_assets_beside_the_package() -> None:
    assert asset("policies/default.yaml").is_file()


def test_an_installed_package_has_them_inside(tmp_path: Path) -> None:
    package = tmp_path / "extproc"
    (package / "assets" / "policies").mkdir(parents=True)
    shipped = package / "assets" / "policies" / "default.yaml"
    shipped.touch()
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "other.yaml").touch()

    assert asset("policies/default.yaml", package) == shipped
    with pytest.raises(FileNotFoundError):  # what lies beside an installed package is not ours
        asset("policies/other.yaml", package)


def test_what_does_not_ship_is_told_by_name() -> None:
    with pytest.raises(FileNotFoundError, match=r"policies/nothing\.yaml"):
        asset("policies/nothing.yaml")
