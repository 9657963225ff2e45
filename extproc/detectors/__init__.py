"""The kinds of detector there are, in one explicit table.

A kind is imported when a policy first uses it, so a policy pays only for what it names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from extproc.detectors.base import Detector, StreamDetector

Pack = Mapping[str, Any]
Options = Mapping[str, Any]


def _secrets(pack: Pack, options: Options) -> StreamDetector:
    from extproc.detectors import secrets

    return secrets.build(pack, options)


def _prompt_injection(pack: Pack, options: Options) -> Detector:
    from extproc.detectors import injection

    return injection.build(pack, options)


def _special_tokens(pack: Pack, options: Options) -> Detector:
    from extproc.detectors import special_tokens

    return special_tokens.build(pack, options)


@dataclass(frozen=True, slots=True)
class DetectorKind:
    """One kind of detector. ``pack`` is the rule pack that a rule gets which names none.

    ``streams``: it decides on running text, with exact spans and a marker for each, so it may read ``response.*``
    scopes and redact.
    """

    build: Callable[[Pack, Options], Detector]
    pack: str
    streams: bool = False


DETECTORS: Final[Mapping[str, DetectorKind]] = MappingProxyType(
    {
        "prompt_injection": DetectorKind(_prompt_injection, pack="injection"),
        "secrets": DetectorKind(_secrets, pack="secrets", streams=True),
        "special_tokens": DetectorKind(_special_tokens, pack="special_tokens"),
    }
)
