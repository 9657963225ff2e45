"""What training and judging read besides texts: packs, concepts, models, folds, licences, detectors of policies.

What lives here: files in, checked data or detectors out. What must not: NumPy, texts, arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from extproc.detectors import injection
from extproc.detectors.base import Detector
from extproc.detectors.pack import PackError
from extproc.runtime.assets import asset
from extproc.runtime.model_files import ModelFile, ModelFileError
from extproc.runtime.store import MODEL, PolicyErrors, load_policy
from extproc.runtime.yaml_source import BadYaml, read_yaml

PACK: Final = "policies/packs/injection.yaml"
CONCEPTS: Final = "policies/models/concepts.yaml"


class Unusable(ValueError):  # noqa: N818 - what it is
    """A file, or what is asked of it, cannot be used; the message names it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A detector as it was asked for: a policy's rule, or a pack and a model. Nothing named: the shipped policy's."""

    policy: Path | None = None
    rule: str | None = None
    model: Path | None = None
    pack: Path | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A detector to be judged. Without a ``threshold``, what has a match is flagged."""

    name: str
    detector: Detector
    threshold: float | None

    def judge(self, text: str) -> tuple[float, bool]:
        """The score of a text, and whether it is flagged."""
        scan = self.detector.scan(text)
        return scan.score, bool(scan.matches) if self.threshold is None else scan.score >= self.threshold


def candidate(wanted: Wanted) -> Candidate:
    """Build a detector.

    Raises:
        Unusable: a file cannot be read, or does not hold what is asked for.
    """
    if wanted.model is None and wanted.pack is None:
        return _of_policy(wanted)
    if wanted.policy is not None or wanted.rule is not None:
        raise Unusable("name a policy and its rule, or a model, or a pack")
    path = wanted.pack or asset(PACK)
    pack = read_pack(path)
    model = wanted.model or _model_of(path, pack)
    try:
        detector = detector_of(pack, None if model is None else ModelFile(model).data())
    except ModelFileError as error:
        raise Unusable(str(error)) from None
    except PackError as error:
        raise Unusable(f"{model if error.where[:2] == ('options', MODEL) else path}: {error}") from None
    name = " with ".join(found.stem for found in (wanted.pack, wanted.model) if found is not None)
    return Candidate(name, detector, wanted.threshold)


def detector_of(pack: Mapping[str, Any], model: Mapping[str, Any] | None) -> injection.InjectionDetector:
    """Build the detector of a pack's rules and a model, whichever model the pack itself names.

    Raises:
        PackError: one of them is wrong.
    """
    rules = {name: value for name, value in pack.items() if name != MODEL}
    return injection.build(rules, {} if model is None else {MODEL: model})


def read_pack(path: Path | None = None) -> Mapping[str, Any]:
    """Read a pack of rules; None reads the one that ships.

    Raises:
        Unusable: it cannot be read.
    """
    return _yaml(path or asset(PACK))


def read_concepts(path: Path | None = None) -> Mapping[str, Mapping[str, str]]:
    """Read words by concept and language; None reads those that ship.

    Raises:
        Unusable: it cannot be read.
    """
    path = path or asset(CONCEPTS)
    data = _yaml(path)
    for concept, languages in data.items():
        words = languages.values() if isinstance(languages, dict) else (None,)
        if not all(isinstance(each, str) and each.strip() for each in words):
            raise Unusable(f"{path}: {concept}: must have words by language")
    return data


def read_folds(path: Path | None) -> Mapping[str, int]:
    """Read which fold each source is in.

    Raises:
        Unusable: it is not a mapping of sources to whole numbers.
    """
    folds = _json(path)
    if not all(type(fold) is int and 0 <= fold < 1000 for fold in folds.values()):
        raise Unusable(f"{path}: must have a whole number from 0 to 999 for each source")
    return folds


def read_licences(path: Path | None) -> Mapping[str, str]:
    """Read the licence of each source.

    Raises:
        Unusable: it is not a mapping of sources to text.
    """
    licences = _json(path)
    if not all(isinstance(licence, str) for licence in licences.values()):
        raise Unusable(f"{path}: must have a text for each source")
    return licences


def _model_of(path: Path, pack: Mapping[str, Any]) -> Path | None:
    """The model that a pack names, where the policies that use the pack find it."""
    return path.parent.parent / "models" / f"{pack[MODEL]}.json" if MODEL in pack else None


def _of_policy(wanted: Wanted) -> Candidate:
    try:
        policy = load_policy(wanted.policy)
    except PolicyErrors as errors:
        raise Unusable(str(errors)) from None
    rules = [rule for rule in policy.rules if (rule.id == wanted.rule if wanted.rule else rule.scores)]
    if len(rules) != 1:
        named = ", ".join(rule.id for rule in rules or policy.rules)
        raise Unusable(f"policy {policy.name}: name one rule with --rule, of {named}")
    return Candidate(f"{policy.name}/{rules[0].id}", rules[0].detector, wanted.threshold)


def _json(path: Path | None) -> Mapping[str, Any]:
    if path is None:
        return {}
    try:
        return ModelFile(path).data()
    except ModelFileError as error:
        raise Unusable(str(error)) from None


def _yaml(path: Path) -> Mapping[str, Any]:
    try:
        data = read_yaml(path.read_text(encoding="utf-8")).data
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Unusable(f"{path}: not UTF-8") from None
    except BadYaml as error:
        raise Unusable(f"{path}: {error}") from None
    if not isinstance(data, dict):
        raise Unusable(f"{path}: not a mapping")
    return data
