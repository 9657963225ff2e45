"""Policies from files: a path in, a CompiledPolicy out, or every problem with its file, line and column.

What lives here: which files make a policy and how their errors are placed. What must not: what a policy means.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from extproc.chat import JsonPath
from extproc.detectors import DETECTORS
from extproc.detectors.base import Detector
from extproc.detectors.pack import PackError
from extproc.policy.compiler import CompiledPolicy, compile_policy
from extproc.policy.document import PolicyDocument, RuleDocument
from extproc.policy.problems import Problem, inspect, place, valid_rules, warnings
from extproc.runtime.assets import asset
from extproc.runtime.yaml_source import BadYaml, Source, read_yaml

DEFAULT_POLICY: Final = "policies/default.yaml"
FILE_BYTES: Final = 8 << 20

_NO_PACK: Final = Source({}, {})


@dataclass(frozen=True, slots=True)
class PolicyProblem:
    """One thing that is wrong with a policy or a pack of it."""

    file: str
    line: int
    column: int
    where: str
    message: str

    def __str__(self) -> str:
        what = f"{self.where}: {self.message}" if self.where else self.message
        return f"{self.file}:{self.line}:{self.column}: {what}"


class PolicyErrors(Exception):  # noqa: N818 - several of them
    """A policy cannot be used. ``problems`` has everything that is wrong with it."""

    def __init__(self, problems: Sequence[PolicyProblem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class Unreadable(PolicyErrors):
    """The file is not there, or may not be read."""


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy and what its author should know of it."""

    policy: CompiledPolicy
    document: PolicyDocument
    warnings: tuple[PolicyProblem, ...]


def default_policy() -> Path:
    """Find the policy that ships with the product."""
    return asset(DEFAULT_POLICY)


def load_policy(path: Path | None = None) -> CompiledPolicy:
    """Load a policy file; None loads the one that ships.

    Raises:
        PolicyErrors: with everything that is wrong.
    """
    return read_policy(path or default_policy()).policy


def read_policy(path: Path) -> LoadedPolicy:
    """Load a policy file together with its document and warnings.

    Raises:
        Unreadable: there is no such file, or it may not be read.
        PolicyErrors: with everything that is wrong.
    """
    source = _read(path)
    document, found = inspect(source.data)
    problems = [_placed(path, source, problem) for problem in found]
    packs = _Packs(path, source)
    detectors: dict[str, Detector] = {}
    for index, rule in valid_rules(source.data) if document is None else enumerate(document.spec.rules):
        try:
            detectors[rule.id] = packs.build(index, rule)
        except PolicyErrors as errors:
            problems += [problem for problem in errors.problems if problem not in problems]
    if document is None or problems:
        raise PolicyErrors(sorted(problems, key=lambda problem: (problem.file != str(path), problem.line)))
    policy = compile_policy(document, detectors, _revision(document, packs.data))
    notes = tuple(_placed(path, source, problem) for problem in warnings(document))
    return LoadedPolicy(policy, document, notes)


@dataclass(slots=True)
class _Packs:
    """The rule packs of one policy, each read once, and the detectors built from them, each built once."""

    policy: Path
    source: Source
    data: dict[str, Any] = field(default_factory=dict)
    _read: dict[str, tuple[Path, Source]] = field(default_factory=dict)
    _built: dict[tuple[str, str, str], Detector] = field(default_factory=dict)

    def build(self, index: int, rule: RuleDocument) -> Detector:
        """Build the detector of one rule.

        Raises:
            PolicyErrors: the pack is missing or wrong, or the rule's options are.
        """
        kind = DETECTORS[rule.detector]
        name = rule.pack or kind.pack
        key = (rule.detector, name, _canonical(rule.options))
        if key not in self._built:
            path, pack = self._pack(index, name) if name else (self.policy, _NO_PACK)
            try:
                self._built[key] = kind.build(pack.data, rule.options)
            except PackError as error:
                if error.where[:1] == ("options",):  # the rule's, not the pack's
                    problem = Problem(("spec", "rules", index, *error.where), error.message)
                    raise PolicyErrors([_placed(self.policy, self.source, problem)]) from None
                raise PolicyErrors([_placed(path, pack, Problem(error.where, error.message))]) from None
        return self._built[key]

    def _pack(self, index: int, name: str) -> tuple[Path, Source]:
        if name not in self._read:
            path = self._find(index, name)
            self._read[name] = (path, _read(path))
            self.data[name] = self._read[name][1].data
        return self._read[name]

    def _find(self, index: int, name: str) -> Path:
        """A pack beside the policy goes before the one of that name that ships."""
        beside = self.policy.parent / "packs" / f"{name}.yaml"
        if beside.is_file():
            return beside
        try:
            return asset(f"policies/packs/{name}.yaml")
        except FileNotFoundError:
            where: JsonPath = ("spec", "rules", index, "pack")
            problem = Problem(where, f'no pack "{name}" in packs/ beside this policy, nor among those that ship')
            raise PolicyErrors([_placed(self.policy, self.source, problem)]) from None


def _read(path: Path) -> Source:
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES + 1)
        if len(raw) > FILE_BYTES:
            raise PolicyErrors([PolicyProblem(str(path), 1, 1, "", f"larger than {FILE_BYTES} bytes")])
        return read_yaml(raw.decode("utf-8-sig"))
    except OSError as error:
        raise Unreadable([PolicyProblem(str(path), 1, 1, "", error.strerror or "cannot be read")]) from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PolicyErrors([PolicyProblem(str(path), line, 1, "", "not UTF-8")]) from None
    except BadYaml as error:
        flaws = [PolicyProblem(str(path), *flaw.mark, "", flaw.message) for flaw in error.flaws]
        raise PolicyErrors(flaws) from None


def _placed(path: Path, source: Source, problem: Problem) -> PolicyProblem:
    line, column = source.mark(problem.where)
    return PolicyProblem(str(path), line, column, place(problem.where), problem.message)


def _revision(document: PolicyDocument, packs: Mapping[str, Any]) -> str:
    """Name what decides: the document with its defaults, and the packs."""
    content = {"document": document.model_dump(mode="json"), "packs": packs}
    return f"sha256:{hashlib.sha256(_canonical(content).encode()).hexdigest()}"


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
