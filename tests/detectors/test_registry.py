from __future__ import annotations

import pytest

from extproc.detectors import DETECTORS
from extproc.runtime.assets import asset
from extproc.runtime.yaml_source import read_yaml


@pytest.mark.parametrize("name", DETECTORS)
def test_every_kind_builds_from_the_pack_that_ships(name: str) -> None:
    kind = DETECTORS[name]
    pack = read_yaml(asset(f"policies/packs/{kind.pack}.yaml").read_text(encoding="utf-8")).data if kind.pack else {}

    detector = kind.build(pack, {})

    assert detector.name == name
    assert detector.scan("") == detector.scan("")
    assert hasattr(detector, "stream") == hasattr(detector, "marker") == kind.streams
