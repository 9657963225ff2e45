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


def _any_text(pack: Pack, options: Options) -> Detector:
    from extproc.detectors import any_text

    return any_text.build(pack, options)


def _secrets(pack: Pack, options: Options) -> StreamDetector:
    from extproc.detectors import secrets

    return secrets.build(pack, options)


def _prompt_injection(pack: Pack, options: Options) -> Detector:
    from extproc.detectors import injection

    return injection.build(pack, options)


def _special_tokens(pack: Pack, options: Options) -> Detector:
    from extproc.detectors import special_tokens

    return special_tokens.build(pack, options)


def _pii(pack: Pack, options: Options) -> StreamDetector:
    from extproc.detectors import pii

    return pii.build(pack, options)


def _exact_values(pack: Pack, options: Options) -> StreamDetector:
    from extproc.detectors import exact_values

    return exact_values.build(pack, options)


def _hidden_context(pack: Pack, options: Options) -> StreamDetector:
    from extproc.detectors import hidden_context

    return hidden_context.build(pack, options)


def _improper_output(pack: Pack, options: Options) -> StreamDetector:
    from extproc.detectors import improper_output

    return improper_output.build(pack, options)


@dataclass(frozen=True, slots=True)
class DetectorKind:
    """One kind of detector. ``pack`` is the rule pack that a rule gets which names none; empty where there is none.

    ``streams``: it decides on running text, with exact spans and a marker for each, so it may read ``response.*``
    scopes and redact. ``neutralises``: it knows a harmless form of what it finds, and its places are exact.
    ``inspects``: it looks at what a text says.
    """

    build: Callable[[Pack, Options], Detector]
    pack: str = ""
    streams: bool = False
    neutralises: bool = False
    inspects: bool = True


DETECTORS: Final[Mapping[str, DetectorKind]] = MappingProxyType(
    {
        "any_text": DetectorKind(_any_text, inspects=False),
        "exact_values": DetectorKind(_exact_values, streams=True),
        "hidden_context": DetectorKind(_hidden_context, streams=True),
        "improper_output": DetectorKind(_improper_output, pack="improper_output", streams=True, neutralises=True),
        "pii": DetectorKind(_pii, pack="pii", streams=True),
        "prompt_injection": DetectorKind(_prompt_injection, pack="injection"),
        "secrets": DetectorKind(_secrets, pack="secrets", streams=True),
        "special_tokens": DetectorKind(_special_tokens, pack="special_tokens", neutralises=True),
    }
)
