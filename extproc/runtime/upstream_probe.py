"""What an upstream serves now, and which of it a starter policy may allow.

What lives here: two GETs (Ollama's ``/api/tags``, else ``/v1/models``) and the choice among the names they give. What
must not: the policy file, and trust in the answer: names come from another machine and end up in a file.
"""

from __future__ import annotations

import enum
import http.client
import json
import re
import ssl
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

from extproc.policy.models import BadName, ModelName, is_glob, normalise
from extproc.runtime.envoy_config import Upstream

_ANSWER_BYTES: Final = 8 << 20
_DIGEST: Final = re.compile(r"(?:sha256:)?([0-9a-f]{12,64})")


class ProbeFailed(Exception):  # noqa: N818 - what happened
    """The upstream did not say what it serves; the message says why."""


class Unreachable(ProbeFailed):
    """Nothing accepts connections there."""


class Verdict(enum.Enum):
    """Whether a served name may be asked for, and why."""

    PINNED = "has a fixed tag"
    AS_SERVED = "no fixed tag, and no other tag of it is served"
    MOVES = "no fixed tag, and another tag of it is served"
    LEAVES = "runs in the vendor's cloud, not here"
    UNREADABLE = "not a model name, or a pattern"

    @property
    def allowed(self) -> bool:
        """Whether a starter policy lists the name."""
        return self in {Verdict.PINNED, Verdict.AS_SERVED}


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One name as served. ``digest`` is 64 hex digits where the upstream tells (Ollama's manifest), else empty."""

    name: str
    digest: str
    verdict: Verdict


def served_models(upstream: Upstream, timeout_s: float = 5.0) -> tuple[ServedModel, ...]:
    """Ask the upstream what it serves and judge each name; sorted by name.

    Raises:
        Unreachable: nothing accepts connections there.
        ProbeFailed: it answers neither list, or serves nothing.
    """
    status, body = _get(upstream, "/api/tags", timeout_s)
    listed = _names(body, "models", ("name", "model")) if status == 200 else []
    if not listed:
        status, body = _get(upstream, "/v1/models", timeout_s)
        listed = _names(body, "data", ("id",)) if status == 200 else []
    if status in {401, 403}:
        raise ProbeFailed(f"{upstream.url} wants credentials before it lists its models")
    if status != 200:
        raise ProbeFailed(
            f"{upstream.url} lists no models: neither /api/tags nor /v1/models answers 200 (last: {status})"
        )
    if not listed:
        raise ProbeFailed(f"{upstream.url} serves no models now; load one")
    return judge(listed)


def judge(listed: list[tuple[str, str]]) -> tuple[ServedModel, ...]:
    """Judge (name, digest) pairs as served, looking at what else is served of the same model."""
    read = {name: _read(name) for name, _ in listed}
    fixed: defaultdict[tuple[str, str, str], bool] = defaultdict(bool)
    for model in read.values():
        if model is not None and not model.moves and not model.leaves:
            fixed[model.host, model.namespace, model.model] = True

    def verdict(model: ModelName | None) -> Verdict:
        if model is None:
            return Verdict.UNREADABLE
        if model.leaves:
            return Verdict.LEAVES
        if not model.moves:
            return Verdict.PINNED
        return Verdict.MOVES if fixed[model.host, model.namespace, model.model] else Verdict.AS_SERVED

    digests = dict(listed)
    return tuple(ServedModel(name, digests[name], verdict(read[name])) for name in sorted(read))


def _read(name: str) -> ModelName | None:
    try:
        # A name that reads as a pattern would let in every name that it matches.
        return None if is_glob(name) else normalise(name)
    except BadName:
        return None


def _get(upstream: Upstream, path: str, timeout_s: float) -> tuple[int, bytes]:
    connection: http.client.HTTPConnection
    try:
        if upstream.tls:
            context = ssl.create_default_context(cafile=upstream.ca_file or None)
            connection = http.client.HTTPSConnection(upstream.host, upstream.port, timeout=timeout_s, context=context)
        else:
            connection = http.client.HTTPConnection(upstream.host, upstream.port, timeout=timeout_s)
        try:
            _connect(connection, upstream)
            connection.request("GET", path, headers={"accept": "application/json", "accept-encoding": "identity"})
            response = connection.getresponse()
            body = response.read(_ANSWER_BYTES + 1)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise ProbeFailed(f"{upstream.url} does not speak HTTP/1.1 to us: {error or type(error).__name__}") from error
    if len(body) > _ANSWER_BYTES:
        raise ProbeFailed(f"{upstream.url}{path} answers with more than {_ANSWER_BYTES >> 20} MiB")
    return response.status, body


def _connect(connection: http.client.HTTPConnection, upstream: Upstream) -> None:
    try:
        connection.connect()
    except OSError as error:
        raise Unreachable(f"cannot reach {upstream.url}: {error}") from error


def _names(body: bytes, key: str, fields: tuple[str, ...]) -> list[tuple[str, str]]:
    """The (name, digest) pairs of a list of models; what is not in the API's shape is left out."""
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return []
    models = document.get(key) if isinstance(document, dict) else None
    pairs = []
    for model in models if isinstance(models, list) else []:
        entry = model if isinstance(model, dict) else {}
        name = next((entry[each] for each in fields if isinstance(entry.get(each), str)), "")
        digest = _DIGEST.fullmatch(str(entry.get("digest", "")))
        if name:
            pairs.append((name, digest[1] if digest else ""))
    return pairs
