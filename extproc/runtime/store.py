"""Policies from files: a path in, a CompiledPolicy out, or every problem with its file, line and column.

What lives here: which files make a policy, how their errors are placed, and what is kept from one reading to the next.
What must not: what a policy means, when to read again (rotation), what a value is (values).
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from extproc.chat import JsonPath
from extproc.detectors import DETECTORS
from extproc.detectors.base import Detector
from extproc.detectors.pack import PackError
from extproc.policy.compiler import INJECTION, CompiledPolicy, compile_policy
from extproc.policy.document import PolicyDocument, RuleDocument
from extproc.policy.external import ExternalDetector
from extproc.policy.problems import Problem, inspect, place, valid_rules, warnings
from extproc.runtime.assets import asset
from extproc.runtime.detectors import DetectorError, prepared
from extproc.runtime.model_files import ModelFile, ModelFileError
from extproc.runtime.values import Named, patterns_of, resolve
from extproc.runtime.yaml_source import BadYaml, Source, read_yaml

DEFAULT_POLICY: Final = "policies/default.yaml"
FILE_BYTES: Final = 8 << 20
EXACT_VALUES: Final = "exact_values"
MODEL: Final = "model"
_MODEL_NAME: Final = re.compile(rb"^model: *([a-z0-9_-]+)[ \t]*(?:#.*)?\r?$", re.MULTILINE)


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
    """A policy and what its author should know of it. ``overlooked``: warnings of values that are not looked for."""

    policy: CompiledPolicy
    document: PolicyDocument
    warnings: tuple[PolicyProblem, ...]
    overlooked: tuple[PolicyProblem, ...] = ()


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
    return PolicySource(path).read()


class PolicySource:
    """The files that make a policy: itself, its packs, and the values that it names. They can be read again and again;
    a detector is built again only where something of its own has changed. Not for several threads at once."""

    def __init__(self, path: Path, environ: Mapping[str, str] = os.environ) -> None:
        self.watched: tuple[str, ...] = (glob.escape(str(path)),)
        """Patterns of all files that the last reading looked at, or looked for."""
        self._path: Final = path
        self._environ: Final = environ
        self._known = _Known()

    def read(self) -> LoadedPolicy:
        """Read everything.

        Raises:
            Unreadable: there is no such file, or it may not be read.
            PolicyErrors: with everything that is wrong.
        """
        reading = _Reading(self._path, self._environ, self._known)
        try:
            loaded = reading.load()
        except PolicyErrors:
            self._known = _Known({**self._known.detectors, **reading.found.detectors}, self._known.packs)
            self.watched = tuple(dict.fromkeys((*self.watched, *reading.watched)))
            raise
        self._known, self.watched = reading.found, tuple(dict.fromkeys(reading.watched))
        return loaded


_Key: TypeAlias = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class _Known:
    """What one reading leaves to the next: detectors by kind, pack, options and values; packs' content by their digest;
    the digests of models.

    It holds no pack itself: a parsed one is many times larger than what is made of it."""

    detectors: dict[_Key, Detector] = field(default_factory=dict)
    packs: dict[str, str] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)


class _Pack:
    """A rule pack, parsed when first asked for its data."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path
        self._raw: Final = _bytes(path)
        self._source: Source | None = None
        self.digest: Final = hashlib.sha256(self._raw).hexdigest()
        named = _MODEL_NAME.search(self._raw)
        self.model: Final = named and named[1].decode()

    @property
    def source(self) -> Source:
        if self._source is None:
            self._source = _parse(self.path, self._raw)
        return self._source


class _Reading:
    """One reading of a policy's files. Each pack is read once, each detector built once."""

    def __init__(self, path: Path, environ: Mapping[str, str], known: _Known) -> None:
        self.found: Final = _Known()
        self.watched: Final = [glob.escape(str(path))]
        self._path: Final = path
        self._environ: Final = environ
        self._known: Final = known
        self._packs: Final[dict[str, _Pack]] = {}
        self._overlooked: Final[list[PolicyProblem]] = []

    def load(self) -> LoadedPolicy:
        self._source = source = _read(self._path)
        document, found = inspect(source.data)
        problems = [_placed(self._path, source, problem) for problem in found]
        detectors: dict[str, Detector] = {}
        for index, rule in valid_rules(source.data) if document is None else enumerate(document.spec.rules):
            try:
                detectors[rule.id] = self._build(index, rule)
            except PolicyErrors as errors:
                problems += [problem for problem in errors.problems if problem not in problems]
        if document is None or problems:
            raise PolicyErrors(sorted(problems, key=lambda problem: (problem.file != str(self._path), problem.line)))
        policy = compile_policy(document, detectors, self._revision(document))
        policy = replace(policy, external=self._external(policy))
        notes = tuple(_placed(self._path, source, problem) for problem in warnings(document))
        overlooked = tuple(dict.fromkeys(self._overlooked))
        return LoadedPolicy(policy, document, notes + overlooked, overlooked)

    def _build(self, index: int, rule: RuleDocument) -> Detector:
        """Give the detector of one rule.

        Raises:
            PolicyErrors: the pack is missing or wrong, or the rule's options are, or a value is not there.
        """
        kind = DETECTORS[rule.detector]
        name = rule.pack or kind.pack
        pack = self._pack(index, name) if name else None
        options, values = self._options(index, rule)
        model = None if pack is None else self._model_of(pack)
        key = (
            rule.detector,
            "" if pack is None else pack.digest,
            _canonical(rule.options),
            values + (model.digest if model else ""),
        )
        built = self.found.detectors.get(key) or self._known.detectors.get(key)
        if built is None:
            try:
                data = {} if pack is None else self._data(pack)
                built = kind.build({**data, **_contents(model)} if model else data, options)
            except ModelFileError as error:
                assert pack is not None
                raise PolicyErrors([_placed(pack.path, pack.source, Problem((MODEL,), str(error)))]) from None
            except PackError as error:
                if pack is None or error.where[:1] == ("options",):  # the rule's, not the pack's
                    raise self._wrong(index, error) from None
                raise PolicyErrors([_placed(pack.path, pack.source, Problem(error.where, error.message))]) from None
        self.found.detectors[key] = built
        if rule.second_opinion is not None:
            self._check_band(index, built, rule.second_opinion.band)
        return built

    def _data(self, pack: _Pack) -> Mapping[str, Any]:
        """The data of a pack whose model, if it names one, was seen before it was parsed."""
        data: Mapping[str, Any] = pack.source.data
        if isinstance(data, Mapping) and isinstance(data.get(MODEL), str) and data[MODEL] != pack.model:
            message = "must be a line of its own with a plain name of lower-case letters, digits, _ and -"
            raise PolicyErrors([_placed(pack.path, pack.source, Problem((MODEL,), message))])
        return data

    def _check_band(self, index: int, detector: Detector, band: Sequence[float]) -> None:
        """Below its band a rule must pass by itself, and above it must find."""
        threshold = getattr(detector, "threshold", None)
        if threshold is not None and not band[0] <= threshold <= band[1]:
            where = ("second_opinion", "band")
            raise self._wrong(index, PackError(where, f"must hold the detector's own threshold, {threshold:g}"))

    def _external(self, policy: CompiledPolicy) -> Mapping[str, ExternalDetector]:
        """The external detectors that rules ask, with the files that they name.

        Raises:
            PolicyErrors: one of them cannot work here.
        """
        problems: list[PolicyProblem] = []
        found: dict[str, ExternalDetector] = {}
        for name, document in policy.external.items():
            try:
                found[name] = prepared(document, self._path.parent, self._environ)
            except DetectorError as error:
                where = ("spec", "detectors", name, error.field)
                problems.append(_placed(self._path, self._source, Problem(where, str(error))))
        if problems:
            raise PolicyErrors(problems)
        return found

    def _options(self, index: int, rule: RuleDocument) -> tuple[Mapping[str, Any], str]:
        """The options to build from, and what tells their values from others."""
        if isinstance(rule.options.get(MODEL), str) and rule.detector == INJECTION:
            return self._own_model(index, rule)
        if rule.detector != EXACT_VALUES:
            return rule.options, ""
        try:
            named = Named.of(rule.options)
            self.watched.extend(patterns_of(named, self._path.parent))
            resolved = resolve(named, self._path.parent, self._environ)
        except PackError as error:
            raise self._wrong(index, error) from None
        for note in resolved.notes:
            where = ("spec", "rules", index, *note.where)
            self._overlooked.append(_placed(self._path, self._source, Problem(where, note.message)))
        return resolved.options, resolved.digest

    def _own_model(self, index: int, rule: RuleDocument) -> tuple[Mapping[str, Any], str]:
        """The options with the model that they name: a file, beside the policy where the path is relative."""
        path = self._path.parent / rule.options[MODEL]
        self.watched.append(glob.escape(str(path)))
        try:
            model = ModelFile(path)
            data = model.data()
        except ModelFileError as error:
            raise self._wrong(index, PackError(("options", MODEL), str(error))) from None
        self.found.models[str(rule.options[MODEL])] = model.digest
        return {**rule.options, MODEL: data}, model.digest

    def _model_of(self, pack: _Pack) -> ModelFile | None:
        """The model that a pack names: ``models/NAME.json`` beside the folder that the pack is in."""
        if pack.model is None:
            return None
        path = pack.path.parent.parent / "models" / f"{pack.model}.json"
        self.watched.append(glob.escape(str(path)))
        try:
            model = ModelFile(path)
        except ModelFileError as error:
            raise PolicyErrors([_placed(pack.path, pack.source, Problem((MODEL,), str(error)))]) from None
        self.found.models[pack.model] = model.digest
        return model

    def _wrong(self, index: int, error: PackError) -> PolicyErrors:
        problem = Problem(("spec", "rules", index, *error.where), error.message)
        return PolicyErrors([_placed(self._path, self._source, problem)])

    def _pack(self, index: int, name: str) -> _Pack:
        if name not in self._packs:
            self._packs[name] = _Pack(self._find(index, name))
        return self._packs[name]

    def _find(self, index: int, name: str) -> Path:
        """A pack beside the policy goes before the one of that name that ships."""
        beside = self._path.parent / "packs" / f"{name}.yaml"
        self.watched.append(glob.escape(str(beside)))
        if beside.is_file():
            return beside
        try:
            return asset(f"policies/packs/{name}.yaml")
        except FileNotFoundError:
            where: JsonPath = ("spec", "rules", index, "pack")
            problem = Problem(where, f'no pack "{name}" in packs/ beside this policy, nor among those that ship')
            raise PolicyErrors([_placed(self._path, self._source, problem)]) from None

    def _revision(self, document: PolicyDocument) -> str:
        """Name what decides: the document with its defaults, and the packs. Values are not a part of it."""
        for pack in self._packs.values():
            content = self._known.packs.get(pack.digest)
            self.found.packs[pack.digest] = content or _canonical(pack.source.data)
        packs = ",".join(f'"{name}":{self.found.packs[self._packs[name].digest]}' for name in sorted(self._packs))
        models = f',"models":{_canonical(self.found.models)}' if self.found.models else ""
        content = f'{{"document":{_canonical(_said(document))},"packs":{{{packs}}}{models}}}'
        return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


def _said(document: PolicyDocument) -> Any:
    """A document with its defaults. Sections that came later count only where they are used: revisions live on."""
    said = document.model_dump(mode="json")
    for section in (said["spec"], *said["spec"]["rules"]):
        for name in ("detectors", "second_opinion", "retries"):
            if not section.get(name, True):
                del section[name]
    return said


def _contents(model: ModelFile) -> dict[str, Any]:
    """A model, and what the pack's rules were compiled to, which saves most of the time that building takes."""
    compiled = model.path.with_suffix(".rules.json")
    if not compiled.is_file():
        return {MODEL: model.data()}
    return {MODEL: model.data(), "compiled": ModelFile(compiled).data()}


def _read(path: Path) -> Source:
    return _parse(path, _bytes(path))


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES + 1)
    except OSError as error:
        raise Unreadable([PolicyProblem(str(path), 1, 1, "", error.strerror or "cannot be read")]) from None
    if len(raw) > FILE_BYTES:
        raise PolicyErrors([PolicyProblem(str(path), 1, 1, "", f"larger than {FILE_BYTES} bytes")])
    return raw


def _parse(path: Path, raw: bytes) -> Source:
    try:
        return read_yaml(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PolicyErrors([PolicyProblem(str(path), line, 1, "", "not UTF-8")]) from None
    except BadYaml as error:
        flaws = [PolicyProblem(str(path), *flaw.mark, "", flaw.message) for flaw in error.flaws]
        raise PolicyErrors(flaws) from None


def _placed(path: Path, source: Source, problem: Problem) -> PolicyProblem:
    line, column = source.mark(problem.where)
    return PolicyProblem(str(path), line, column, place(problem.where), problem.message)


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
