"""Ask through the real client libraries, and say what their user gets.

One set of clients belongs to one base URL: the gate's, or the upstream's own for comparison. Retries are off, so that
one question is one request; proxies from the environment are ignored.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Final, Self

import httpx
import ollama
import openai

DECISION_HEADER: Final = "x-sluicegate-decision-id"
_TIMEOUT_S: Final = 60.0
_MAX_TOKENS: Final = 24


@dataclass(frozen=True, slots=True)
class Seen:
    """What a client's user gets. ``error`` names the exception, empty for an answer; ``first_s`` is the time to the
    first text or call, ``total_s`` to the end."""

    text: str = ""
    calls: tuple[str, ...] = ()
    finish: str = ""
    status: int = 200
    error: str = ""
    code: str = ""
    decision_id: str = ""
    first_s: float = 0.0
    total_s: float = 0.0

    @property
    def refused(self) -> bool:
        """Whether the client raised instead of answering."""
        return bool(self.error)


@dataclass(slots=True)
class _Watch:
    """Gathers a running answer and its times."""

    started: float = field(default_factory=time.perf_counter)
    first_s: float = 0.0
    text: str = ""
    calls: list[str] = field(default_factory=list)
    finish: str = ""

    def take(self, text: str | None, calls: Iterable[str | None] = (), finish: str | None = None) -> None:
        """Add one piece."""
        names = [name for name in calls if name]
        if (text or names) and not self.first_s:
            self.first_s = time.perf_counter() - self.started
        self.text += text or ""
        self.calls += names
        self.finish = finish or self.finish

    def seen(self) -> Seen:
        """Close the books."""
        total_s = time.perf_counter() - self.started
        return Seen(self.text, tuple(self.calls), self.finish, first_s=self.first_s or total_s, total_s=total_s)


class Clients:
    """The OpenAI client, the Ollama client and plain HTTP, all to one base URL."""

    def __init__(self, base_url: str) -> None:
        self._decision_id = ""
        hooks: Mapping[str, list[Callable[..., Any]]] = {"response": [self._note]}
        self._stack = ExitStack()
        transport = openai.DefaultHttpxClient(event_hooks=dict(hooks), trust_env=False)
        self._openai = self._stack.enter_context(
            openai.OpenAI(
                base_url=f"{base_url}/v1",
                api_key="none",
                max_retries=0,
                timeout=_TIMEOUT_S,
                http_client=transport,
            )
        )
        self._ollama = self._stack.enter_context(
            ollama.Client(base_url, timeout=_TIMEOUT_S, event_hooks=dict(hooks), trust_env=False)
        )
        self._http = self._stack.enter_context(
            httpx.Client(base_url=base_url, timeout=_TIMEOUT_S, event_hooks=dict(hooks), trust_env=False)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _note(self, response: Any) -> None:  # httpx's or its successor's, by the openai version
        self._decision_id = response.headers.get(DECISION_HEADER, "")

    def openai_chat(self, prompt: str, model: str, tools: Iterable[Mapping[str, Any]] = ()) -> Seen:
        """Stream a chat through the OpenAI client."""
        extra: dict[str, Any] = {"tools": list(tools)} if tools else {}

        def run(watch: _Watch) -> None:
            chunks = self._openai.chat.completions.create(
                model=model,
                messages=[{"role": "user", "content": prompt}],
                stream=True,
                temperature=0,
                max_tokens=_MAX_TOKENS,
                **extra,
            )
            for chunk in chunks:
                for choice in chunk.choices:
                    calls = [call.function.name if call.function else None for call in choice.delta.tool_calls or ()]
                    watch.take(choice.delta.content, calls, choice.finish_reason)

        return self._ask(run)

    def ollama_chat(self, prompt: str, model: str) -> Seen:
        """Stream a chat through the Ollama client."""

        def run(watch: _Watch) -> None:
            options = {"num_predict": _MAX_TOKENS, "temperature": 0}
            messages = [{"role": "user", "content": prompt}]
            for part in self._ollama.chat(model=model, messages=messages, stream=True, options=options):
                calls = [call.function.name for call in part.message.tool_calls or ()]
                watch.take(part.message.content, calls, part.done_reason)

        return self._ask(run)

    def ollama_pull(self, model: str) -> Seen:
        """Tell the runtime to fetch a model, through the Ollama client."""
        return self._ask(lambda watch: watch.take(self._ollama.pull(model).status))

    def post(self, path: str, body: Mapping[str, Any]) -> Seen:
        """Post JSON to a path exactly as written."""

        def run(watch: _Watch) -> None:
            response = self._http.post(path, json=body)
            response.raise_for_status()
            watch.take(response.text)

        return self._ask(run)

    def _ask(self, run: Callable[[_Watch], None]) -> Seen:
        self._decision_id = ""
        watch = _Watch()
        refusal = Seen()
        try:
            run(watch)
        except openai.APIStatusError as error:
            refusal = Seen(_told(error), status=error.status_code, code=str(error.code or ""), error=_name(error))
        except ollama.ResponseError as error:
            refusal = Seen(error.error, status=error.status_code, error=_name(error))
        except httpx.HTTPStatusError as error:
            refusal = Seen(error.response.text, status=error.response.status_code, error=_name(error))
        except (openai.APIError, httpx.HTTPError) as error:
            refusal = Seen(str(error), status=0, error=_name(error))
        seen = watch.seen()
        if refusal.error:
            refusal = replace(refusal, calls=seen.calls, first_s=seen.total_s, total_s=seen.total_s)
            seen = refusal if not seen.text else replace(refusal, text=seen.text + refusal.text)
        return replace(seen, decision_id=self._decision_id)


def _told(error: openai.APIStatusError) -> str:
    """The server's own message; the SDK wraps the whole body in one of its own."""
    return str(error.body.get("message")) if isinstance(error.body, dict) else error.message


def _name(error: Exception) -> str:
    return type(error).__name__
