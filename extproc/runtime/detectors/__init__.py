"""The kinds of external detectors, in one explicit table.

A kind is imported when a policy first uses it, so a policy pays only for what it names, and needs only its libraries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

from extproc.policy.external import ExternalDetector
from extproc.runtime.detectors.base import Client, DetectorError, Unanswered

__all__ = ("KINDS", "Client", "DetectorError", "Unanswered", "connect", "prepared")

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "chat": "extproc.runtime.detectors.chat",
        "grpc": "extproc.runtime.detectors.grpc_service",
        "moderation": "extproc.runtime.detectors.moderation",
        "onnx": "extproc.runtime.detectors.onnx_model",
    }
)
"""The module of each kind: its ``prepared`` checks a document at load, its ``connect`` makes the client."""


def prepared(document: ExternalDetector, folder: Path, environ: Mapping[str, str]) -> ExternalDetector:
    """Check what a detector needs here; return it with the paths of its files.

    Raises:
        DetectorError: it cannot work here. Naming the field.
    """
    check: Callable[..., Any] = import_module(KINDS[document.kind]).prepared
    return cast("ExternalDetector", check(document, folder, environ))


def connect(document: ExternalDetector) -> Client:
    """A client for a prepared detector. It does nothing until it is started or asked."""
    return cast("Client", import_module(KINDS[document.kind]).connect(document))
