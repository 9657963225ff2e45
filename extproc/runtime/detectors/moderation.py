"""A moderation endpoint in OpenAI's form: ``POST {input: [text]}`` -> ``results[0].category_scores``, ``flagged``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from extproc.policy.external import ModerationDetector
from extproc.runtime.detectors.base import Unanswered, need_key
from extproc.runtime.detectors.http import Endpoint


def prepared(document: ModerationDetector, _folder: Path, environ: Mapping[str, str]) -> ModerationDetector:
    """See that there is a key, if one is named.

    Raises:
        DetectorError: there is none.
    """
    need_key(document.api_key_env, environ)
    return document


def connect(document: ModerationDetector) -> ModerationClient:
    """A client for it."""
    return ModerationClient(document)


class ModerationClient:
    """Asks a moderation endpoint about one text at a time."""

    def __init__(self, document: ModerationDetector) -> None:
        self._endpoint: Final = Endpoint(document.url, document.api_key_env)
        self._fields: Final = {"model": document.model} if document.model else {}
        self._categories: Final = tuple(document.categories)

    async def start(self) -> None:
        """Nothing to do: each question has its own connection."""

    async def ask(self, scope: str, text: str) -> float:  # noqa: ARG002 - the API knows no scopes
        """The largest score of the categories, or 1 for what is flagged and 0 for the rest."""
        return _score(await self._endpoint.post({"input": [text], **self._fields}), self._categories)

    async def close(self) -> None:
        """Nothing to do."""


def _score(answer: Any, categories: tuple[str, ...]) -> float:
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list) or len(results) != 1 or not isinstance(results[0], dict):
        raise Unanswered("garbage")
    if not categories:
        flagged = results[0].get("flagged")
        if not isinstance(flagged, bool):
            raise Unanswered("garbage")
        return float(flagged)
    scores = results[0].get("category_scores")
    if not isinstance(scores, dict):
        raise Unanswered("garbage")
    return max(_share(scores.get(category)) for category in categories)


def _share(score: Any) -> float:
    if not isinstance(score, int | float) or isinstance(score, bool) or not 0 <= score <= 1:
        raise Unanswered("garbage")
    return float(score)
