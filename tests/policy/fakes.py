"""A detector of plain words and policies made of it, so that the tests of the policy need no rule pack."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from extproc.detectors.base import NO_EXCHANGE, Exchange, Match, Scan, Span
from extproc.policy.compiler import CompiledPolicy, compile_policy
from extproc.policy.document import PolicyDocument


class WordDetector:
    """Finds words. The longest of them says how much running text it holds back."""

    name = "words"

    def __init__(self, *words: str, marker: str = "[{}]", pieces: int = 0, kind: str = "", safe: str = "") -> None:
        self.words = words
        self.safe = safe  # the harmless form of a word, with {} for the word; without it there is none
        self.kind = kind  # what its findings are called; without it by the word itself
        self.pieces = pieces  # a span is told in pieces of so many code points; 0: in one
        self._marker = marker
        self._pattern = re.compile("|".join(map(re.escape, words)) or r"(?!)")
        self.scanned: list[str] = []

    def scan(self, text: str) -> Scan:
        self.scanned.append(text)
        found = self._pattern.finditer(text)
        matches = tuple(
            Match(word.start(), word.end(), self.kind or word[0], safe=self.harmless(word[0])) for word in found
        )
        return Scan(matches, 1.0 if matches else 0.25)

    def stream(self, exchange: Exchange = NO_EXCHANGE) -> WordScan:
        return WordScan(self, self._pattern)

    def harmless(self, word: str) -> str | None:
        return self.safe.format(word) if self.safe else None

    def marker(self, rule: str) -> str:
        return self._marker.format(rule.upper())


class WordScan:
    """Decides on a place once the longest word that could begin there would be known."""

    def __init__(self, detector: WordDetector, pattern: re.Pattern[str]) -> None:
        self.settled = 0
        self._detector = detector
        self._pattern = pattern
        self._text = ""
        self._reach = max((len(word) for word in detector.words), default=1)

    def feed(self, text: str, final: bool) -> list[Span]:
        self._text += text
        known = len(self._text) if final else max(self.settled, len(self._text) - self._reach + 1)
        spans: list[Span] = []
        while (found := self._pattern.search(self._text, self.settled)) and found.start() < known:
            spans += self._spans(found)
            self.settled = found.end()
        self.settled = max(self.settled, known)
        return spans

    def pause(self) -> list[Span]:
        self.settled = len(self._text)
        return []

    def _spans(self, found: re.Match[str]) -> list[Span]:
        size = self._detector.pieces or len(found[0])
        starts = range(found.start(), found.end(), size)
        kind = self._detector.kind or found[0]
        safe = self._detector.harmless(found[0])
        return [
            Span(
                at,
                min(at + size, found.end()),
                kind,
                opens=at == found.start(),
                safe=safe if at == found.start() else None,
            )
            for at in starts
        ]


def rule(name: str, detector: str = "secrets", **fields: Any) -> dict[str, Any]:
    """A rule of a policy document; its scope is ``user`` and its action ``deny`` unless given."""
    return {"id": name, "detector": detector, "scope": ["user"], "action": "deny", **fields}


def policy(detectors: Mapping[str, WordDetector] | None = None, **spec: Any) -> CompiledPolicy:
    """A compiled policy. Rules without a detector of their own get one that finds nothing."""
    spec = {"models": {"allow": ["good:1"]}, **spec}
    data = {"apiVersion": "sluicegate.dev/v1", "kind": "Policy", "metadata": {"name": "test"}, "spec": spec}
    document = PolicyDocument.model_validate(data)
    built = {rule.id: (detectors or {}).get(rule.id, WordDetector()) for rule in document.spec.rules}
    return compile_policy(document, built, "sha256:0")
