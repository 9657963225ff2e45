"""Gemini's requests: what they say, whatever form they take, and how they are refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import pytest

from extproc.chat import REMOVED, ChatRequest, Denial, Edit, Json, JsonPath, Malformed, RequestHead, ToolDefinition
from extproc.dialects import dialect_for, refusal_for
from extproc.dialects.gemini import GeminiCountTokens, GeminiEmbed, GeminiGenerate
from extproc.dialects.members import UNBOUNDED
from extproc.strict_json import apply
from tests.dialects.support import DENIAL, LIMITS

MODEL = "/v1beta/models/gemini-2.5-flash"
HEAD = RequestHead("POST", f"{MODEL}:generateContent")
DIALECT = GeminiGenerate()
BASE64 = base64.b64encode(b"hello there").decode()


def read(**document: Json) -> ChatRequest:
    return DIALECT.read_request(HEAD, json.dumps(document).encode(), LIMITS)


def counted(**document: Json) -> ChatRequest:
    head = RequestHead("POST", f"{MODEL}:countTokens")
    return GeminiCountTokens().read_request(head, json.dumps(document).encode(), LIMITS)


def embedded(verb: str, **document: Json) -> ChatRequest:
    head = RequestHead("POST", f"{MODEL}:{verb}")
    return GeminiEmbed().read_request(head, json.dumps(document).encode(), LIMITS)


def parts(*held: Mapping[str, Json], role: str = "user") -> list[Json]:
    return [{"role": role, "parts": [dict(part) for part in held]}]


def said(request: ChatRequest, scope: str) -> list[str]:
    return [text.text for text in request.texts if text.scope == scope]


def settings(request: ChatRequest) -> dict[str, bool]:
    return {setting.name: setting.known for setting in request.settings}


# ---- paths -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1beta/models/gemini-2.5-flash:generateContent", "gemini.generate"),
        ("/v1/models/gemini-2.5-flash:streamGenerateContent", "gemini.generate"),
        ("/v1alpha/tunedModels/mine-1:generateContent", "gemini.generate"),
        ("/v1beta/models/gemma3:4b:generateContent", "gemini.generate"),
        ("/v1beta/models/gemini-2.5-flash:countTokens", "gemini.count_tokens"),
        ("/v1beta/models/text-embedding-004:embedContent", "gemini.embed"),
        ("/v1beta/models/text-embedding-004:batchEmbedContents", "gemini.embed"),
    ],
)
def test_the_endpoints_are_claimed_by_name(path: str, name: str) -> None:
    dialect = dialect_for("POST", path)
    assert dialect is not None
    assert dialect.name == name
    assert not dialect.claims("GET", path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta/models/m:predict",
        "/v1beta/models/m:asyncBatchEmbedContent",
        "/v1beta/models/m:batchGenerateContent",
        "/v1beta/models/m:GenerateContent",
        "/v1beta/models/a/b:generateContent",
        "/v1beta/models/m%3Ax:generateContent",
        "/v1beta/models/:generateContent",
        "/v2/models/m:generateContent",
        "/v1/publishers/google/models/m:generateContent",
        "/v1beta/models/m:generateContent/",
        "/v1beta/cachedContents",
        "/v1beta/files",
    ],
)
def test_nothing_else_is_claimed_and_is_refused_in_google_s_words(path: str) -> None:
    assert dialect_for("POST", path) is None
    if "beta" in path or path.endswith("Content"):
        assert json.loads(refusal_for(path, DENIAL).body)["error"]["status"] == "PERMISSION_DENIED"


def test_the_path_says_which_model_and_whether_it_streams() -> None:
    for path, model, stream in (
        (f"{MODEL}:generateContent", "gemini-2.5-flash", False),
        ("/v1/tunedModels/mine:streamGenerateContent", "tunedModels/mine", True),
        ("/v1beta/models/gemma3:4b:streamGenerateContent", "gemma3:4b", True),
    ):
        request = DIALECT.read_request(RequestHead("POST", path), b"{}", LIMITS)
        assert (request.model, request.stream) == (model, stream)
    for query, sse in (
        ("alt=sse", True),
        ("key=k&alt=sse", True),
        ("$alt=sse", True),
        ("alt=json", False),
        ("", False),
    ):
        head = RequestHead("POST", f"{MODEL}:streamGenerateContent", query)
        assert DIALECT.read_request(head, b"{}", LIMITS).sse is sse
    with pytest.raises(Malformed, match="names no model"):
        DIALECT.read_request(RequestHead("POST", "/"), b"{}", LIMITS)


def test_a_model_in_the_body_must_be_that_of_the_path() -> None:
    for model in ("models/gemini-2.5-flash", "gemini-2.5-flash", None):
        assert read(model=model).model == "gemini-2.5-flash"
    with pytest.raises(Malformed, match="'model'"):
        read(model="models/other")
    with pytest.raises(Malformed, match="'model'"):
        read(model=["gemini-2.5-flash"])
    with pytest.raises(Malformed, match="'model'"):
        counted(generateContentRequest={"model": "models/other"})
    with pytest.raises(Malformed, match="'model'"):
        embedded("batchEmbedContents", requests=[{"model": "models/other"}])


# ---- texts -------------------------------------------------------------------------------------------------------


def test_every_text_is_reached_under_its_speaker() -> None:
    request = read(
        systemInstruction={"role": "system", "parts": [{"text": "s1"}], "vendor": "s2"},
        contents=[
            {"parts": [{"text": "u1"}], "vendor": "u2"},
            {"role": "user", "parts": {"text": "u3", "videoMetadata": {"startOffset": "u4"}}},
            {"role": "model", "parts": [{"text": "a1"}, {"text": "a2", "thought": True}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"q": "a3"}}}]},
            {"role": "model", "parts": [{"executableCode": {"language": "PYTHON", "code": "a4"}}]},
            {"role": "model", "parts": [{"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "t1"}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"r": "t2"}}}]},
            {"role": "function", "parts": [{"function_response": {"name": "f", "parts": [{"text": "t3"}]}}]},
            {"role": "wizard", "parts": [{"text": "u5"}]},
        ],
        tools=[{"functionDeclarations": [{"name": "f", "description": "d1", "response": {"title": "d2"}}]}],
        labels={"k": "p1"},
        generationConfig={"responseSchema": {"title": "p2"}, "stopSequences": ["<|end|>"]},
        vendor={"x": "p3"},
    )
    assert set(said(request, "system")) >= {"s1", "s2"}
    assert said(request, "user") == ["u1", "u2", "u3", "startOffset", "u4", "wizard", "u5"]
    assert {"a1", "a2", "f", "a3", "a4"} <= set(said(request, "assistant"))
    assert {"t1", "t2", "t3"} <= set(said(request, "tool_result"))
    assert {"f", "d1", "d2"} <= set(said(request, "tool_definition"))
    assert {"p1", "p2", "p3"} <= set(said(request, "parameter"))
    assert said(request, "steering") == ["<|end|>"]
    assert request.not_inspected == ()
    for text in request.texts:
        value: object = request.document
        for step in text.path:
            value = value[step]  # type: ignore[index]
        assert value == text.text or isinstance(value, dict)


@pytest.mark.parametrize("name", ["systemInstruction", "system_instruction"])
def test_both_spellings_are_read_and_a_string_too(name: str) -> None:
    instruction: Json = {"parts": [{"text": "s"}]}
    assert said(read(**{name: instruction}), "system") == ["s"]
    assert said(read(**{name: "s"}), "system") == ["s"]


@pytest.mark.parametrize(
    "document",
    [
        {"systemInstruction": None, "system_instruction": None},
        {"generationConfig": {"topK": 1, "top_k": 2}},
        {"generation_config": {"responseFormat": [{}], "response_format": {}}},
        {"contents": [{"parts": [{"inlineData": {}, "inline_data": {}}]}]},
        {"contents": {"parts": {"inlineData": {"mimeType": "a", "mime_type": "b"}}}},
        {"contents": [{"parts": [{"functionResponse": {"parts": [{"fileData": {}, "file_data": {}}]}}]}]},
        {"tools": [{"functionDeclarations": [], "function_declarations": []}]},
        {"tool_config": {"functionCallingConfig": {}, "function_calling_config": {}}},
        {"x_y": 1, "xY": 2},
        {"Contents": []},
        {"generationConfig": {"maxoutputtokens": 1}},
        {"generationConfig": {"MAX_OUTPUT_TOKENS": 1}},
    ],
)
def test_no_member_is_there_twice_in_any_spelling(document: dict[str, Json]) -> None:
    with pytest.raises(Malformed, match=r"two spellings|only by case"):
        read(**document)


def test_names_in_free_form_values_may_be_spelled_in_both_ways() -> None:
    args: Json = {"a_b": 1, "aB": 2}
    assert read(contents=parts({"functionCall": {"name": "f", "args": args}}))


@pytest.mark.parametrize(
    "document",
    [
        {"contents": "hello"},
        {"contents": ["hello"]},
        {"contents": [{"role": 5}]},
        {"contents": [{"parts": ["hello"]}]},
        {"contents": [{"parts": [{"text": 5}]}]},
        {"contents": [{"parts": [{"text": "a", "thought": "yes"}]}]},
        {"contents": [{"parts": [{"inlineData": "x"}]}]},
        {"contents": [{"parts": [{"fileData": "x"}]}]},
        {"contents": [{"parts": [{"functionResponse": "x"}]}]},
        {"contents": [{"parts": [{"thoughtSignature": 5}]}]},
        {"systemInstruction": ["x"]},
        {"tools": ["x"]},
        {"tools": [{"functionDeclarations": [{"description": "no name"}]}]},
        {"tools": [], "toolConfig": {"functionCallingConfig": {"streamFunctionCallArguments": True}}},
        {"toolConfig": "x"},
        {"generationConfig": "x"},
        {"generationConfig": {"maxOutputTokens": "64"}},
        {"generationConfig": {"candidateCount": True}},
        {"generationConfig": {"responseModalities": [2]}},
        {"generationConfig": {"responseModalities": {"a": 1}}},
        {"generationConfig": {"responseModalities": ["SMELL"]}},
    ],
)
def test_what_is_of_another_type_is_malformed(document: dict[str, Json]) -> None:
    with pytest.raises(Malformed):
        read(**document)


# ---- what cannot be read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "unseen"),
    [
        ({"inlineData": {"mimeType": "image/png", "data": "AAAA"}}, ["image"]),
        ({"inline_data": {"mime_type": "AUDIO/wav", "data": "AAAA"}}, ["audio"]),
        ({"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}}, ["video"]),
        ({"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}}, ["file"]),
        ({"inlineData": {"mimeType": "text/rtf", "data": BASE64}}, ["file"]),
        ({"inlineData": {"mimeType": "text/plain; charset=utf-16", "data": BASE64}}, ["file"]),
        ({"inlineData": {"mimeType": "text/plain", "data": "not base64!"}}, ["file"]),
        ({"inlineData": {"mimeType": "text/plain", "data": "/w=="}}, ["file"]),
        ({"inlineData": {"mimeType": "text/plain", "data": "AGEA"}}, ["file"]),
        ({"inlineData": {"data": BASE64}}, ["file"]),
        ({"fileData": {"fileUri": "https://youtu.be/x"}}, ["file"]),
        ({"fileData": {"fileUri": "x", "mimeType": "image/webp"}}, ["image"]),
        ({"fileData": None}, []),
        ({"text": "a", "thoughtSignature": "AAAA"}, ["encrypted"]),
        ({"text": "a", "thought_signature": ""}, []),
        ({"functionResponse": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}}, ["image"]),
    ],
)
def test_content_that_cannot_be_read_is_said(part: dict[str, Json], unseen: list[str]) -> None:
    assert list(read(contents=parts(part)).not_inspected) == unseen


def test_what_stands_beside_media_is_text_and_their_data_is_none() -> None:
    blob: Json = {"mimeType": "image/png", "data": "AAAA", "displayName": "a name"}
    file: Json = {"fileUri": "https://x/", "mimeType": "video/mp4", "displayName": "another"}
    request = read(contents=parts({"inlineData": blob}, {"fileData": file}))
    documents = said(request, "document")
    assert {"image/png", "a name", "https://x/", "another"} <= set(documents)
    assert "AAAA" not in documents


@pytest.mark.parametrize("kind", ["text/plain", "TEXT/html; charset=utf-8", "application/json", "text/csv"])
def test_text_in_base64_is_read_where_it_cannot_be_edited(kind: str) -> None:
    for data in (BASE64, BASE64.rstrip("="), base64.urlsafe_b64encode(b"hello there").decode()):
        request = read(contents=parts({"inlineData": {"mimeType": kind, "data": data}}))
        (text,) = [text for text in request.texts if text.text == "hello there"]
        assert (text.scope, text.path[-1]) == ("document", "data")
        assert request.not_inspected == ()


def test_escapes_in_json_in_base64_hide_nothing() -> None:
    for written, found in ((rb'{"k": "\u0068ello"}', "hello"), (rb'{"k": "\q"', rb'{"k": "\q"'.decode())):
        data = base64.b64encode(written).decode()
        request = read(contents=parts({"inlineData": {"mimeType": "application/json", "data": data}}))
        assert found in said(request, "document")


@pytest.mark.parametrize(
    ("document", "unseen"),
    [
        ({"cachedContent": "cachedContents/x"}, ["history"]),
        ({"cached_content": "cachedContents/x"}, ["history"]),
        ({"cachedContent": ""}, []),
        ({"generationConfig": {"responseModalities": ["TEXT", "image", "AUDIO"]}}, ["image", "audio"]),
        ({"generation_config": {"response_modalities": "VIDEO"}}, ["video"]),
        ({"generationConfig": {"responseFormat": {"image": {}, "text": {}}}}, ["image"]),
        ({"generationConfig": {"speechConfig": {"voiceConfig": {"voiceSampleAudio": "AAAA"}}}}, ["audio"]),
    ],
)
def test_what_the_server_remembers_and_the_media_it_is_to_make_are_said(
    document: dict[str, Json], unseen: list[str]
) -> None:
    request = read(**document)
    assert list(request.not_inspected) == unseen
    assert "AAAA" not in said(request, "parameter")


# ---- settings ----------------------------------------------------------------------------------------------------


def test_limits_are_read_in_both_spellings() -> None:
    assert read().parameters == {}
    assert read(generationConfig={"maxOutputTokens": 7, "candidateCount": 3}).parameters == {
        "max_tokens": 7,
        "choices": 3,
    }
    assert read(generation_config={"max_output_tokens": 0}).parameters == {"max_tokens": UNBOUNDED}
    inner: Json = {"generationConfig": {"candidateCount": 4}}
    assert counted(generationConfig={"candidateCount": 2}, generateContentRequest=inner).parameters == {"choices": 4}


def test_settings_have_the_names_that_all_apis_share() -> None:
    request = read(
        contents=parts({"text": "hi"}),
        generationConfig={"topK": 1, "thinking_config": {"thinkingBudget": 0}, "routingConfig": {}, "vendor": 1},
        tool_config={"functionCallingConfig": {"mode": "ANY"}},
        labels={},
        vendor=1,
    )
    assert settings(request) == {
        "top_k": True,
        "thinking": True,
        "generationConfig.routingConfig": False,
        "generationConfig.vendor": False,
        "tool_choice": True,
        "metadata": True,
        "vendor": False,
    }
    (top_k,) = [setting for setting in request.settings if setting.name == "top_k"]
    assert (top_k.path, top_k.value) == (("generationConfig", "topK"), 1)
    inner = counted(generate_content_request={"generation_config": {"top_k": 1}})
    assert [setting.path for setting in inner.settings] == [("generate_content_request", "generation_config", "top_k")]


def test_a_beginning_of_the_answer_and_unknown_roles_are_settings() -> None:
    assert settings(read(contents=[*parts({"text": "a"}), *parts({"text": "b"}, role="model")])) == {"prefill": True}
    assert settings(read(contents=[*parts({"text": "b"}, role="model"), *parts({"text": "a"})])) == {}
    assert settings(read(contents=parts({"text": "a"}, role="wizard"))) == {"unknown_role": True}


def test_an_embedding_s_settings_and_texts_are_read_for_each_request() -> None:
    one: Json = {"content": {"parts": [{"text": "u1"}]}, "task_type": "X", "outputDimensionality": 3, "title": "t1"}
    request = embedded("batchEmbedContents", requests=[one, {"content": {"parts": {"text": "u2"}}}], vendor="p1")
    assert said(request, "user") == ["u1", "u2"]
    assert said(request, "document") == ["t1"]
    assert set(said(request, "parameter")) == {"X", "p1"}
    assert [(setting.name, setting.path) for setting in request.settings] == [
        ("taskType", ("requests", 0, "task_type")),
        ("dimensions", ("requests", 0, "outputDimensionality")),
        ("title", ("requests", 0, "title")),
        ("vendor", ("vendor",)),
    ]
    assert settings(embedded("embedContent", embedContentConfig={"autoTruncate": True})) == {"truncate": True}


# ---- tools -------------------------------------------------------------------------------------------------------

TWO: Json = [{"name": "f"}, {"name": "g"}]


def removed(document: dict[str, Json], *names: str) -> object:
    request = read(**document)
    return apply(dict(request.document), DIALECT.without_tools(request, frozenset(names)))


def test_functions_and_the_api_s_own_tools_are_declared() -> None:
    request = read(
        tools=[{"function_declarations": TWO, "googleSearch": {}}, {"code_execution": {}, "urlContext": None}]
    )
    assert request.tools == (
        ToolDefinition("f", ("tools", 0, "function_declarations", 0)),
        ToolDefinition("g", ("tools", 0, "function_declarations", 1)),
        ToolDefinition("googleSearch", ("tools", 0, "googleSearch"), "googleSearch"),
        ToolDefinition("codeExecution", ("tools", 1, "code_execution"), "codeExecution"),
    )


def test_tools_are_removed_with_what_they_leave_empty() -> None:
    config: Json = {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}}
    tools: Json = [{"functionDeclarations": TWO}, {"googleSearch": {}}]
    both: dict[str, Json] = {"tools": tools, "toolConfig": config}
    left: Json = [{"functionDeclarations": [{"name": "f"}]}, {"googleSearch": {}}]
    assert removed(both, "g") == {"tools": left, "toolConfig": config}
    assert removed(both, "f") == {"tools": [{"functionDeclarations": [{"name": "g"}]}, {"googleSearch": {}}]}
    assert removed(both, "googleSearch") == {"tools": [{"functionDeclarations": TWO}], "toolConfig": config}
    assert removed(both, "f", "g") == {"tools": [{"googleSearch": {}}]}
    assert removed(both, "f", "g", "googleSearch") == {}
    assert removed(both, "h") == both
    mixed: dict[str, Json] = {
        "tools": [{"function_declarations": {"name": "f"}, "googleSearch": {}, "urlContext": None}]
    }
    assert removed(mixed, "f") == {"tools": [{"googleSearch": {}, "urlContext": None}]}
    assert removed(mixed, "f", "googleSearch") == {}
    single: dict[str, Json] = {"tools": {"functionDeclarations": TWO}, "tool_config": {}}
    assert removed(single, "f", "g") == {}


def test_tools_of_a_request_that_is_only_counted_are_removed_where_they_stand() -> None:
    inner: Json = {"tools": [{"functionDeclarations": [{"name": "f"}]}], "toolConfig": {}, "contents": []}
    request = counted(tools=[{"googleSearch": {}}], generateContentRequest=inner)
    path: JsonPath = ("generateContentRequest", "tools")
    assert GeminiCountTokens().without_tools(request, frozenset({"f"})) == (
        Edit(path, REMOVED),
        Edit(("generateContentRequest", "toolConfig"), REMOVED),
    )


# ---- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "named"),
    [
        (400, "INVALID_ARGUMENT"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (413, "INVALID_ARGUMENT"),
        (500, "INTERNAL"),
        (502, "UNAVAILABLE"),
        (503, "UNAVAILABLE"),
    ],
)
def test_a_refusal_is_google_s_error(status: int, named: str) -> None:
    reply = DIALECT.refusal(Denial("No.", "r", "d-1", status))
    assert (reply.status, reply.content_type) == (status, "application/json")
    assert json.loads(reply.body) == {"error": {"code": status, "message": "No.", "status": named}}


def test_a_message_takes_the_form_that_was_asked_for() -> None:
    whole = DIALECT.refusal_message(DENIAL, read())
    assert (whole.status, whole.content_type) == (200, "application/json")
    answer = json.loads(whole.body)
    assert answer["candidates"] == [
        {
            "content": {"parts": [{"text": DENIAL.message}], "role": "model"},
            "finishReason": "SAFETY",
            "finishMessage": DENIAL.message,
            "index": 0,
        }
    ]
    assert "promptFeedback" not in answer
    asked = RequestHead("POST", f"{MODEL}:streamGenerateContent")
    array = DIALECT.refusal_message(DENIAL, DIALECT.read_request(asked, b"{}", LIMITS))
    assert (json.loads(array.body), array.content_type) == ([answer], "application/json")
    asked = RequestHead("POST", asked.path, "alt=sse")
    events = DIALECT.refusal_message(DENIAL, DIALECT.read_request(asked, b"{}", LIMITS))
    assert events.content_type == "text/event-stream"
    assert json.loads(events.body.removeprefix(b"data: ")) == answer


def test_what_has_no_place_for_a_message_answers_with_its_error() -> None:
    for dialect, request in ((GeminiCountTokens(), counted()), (GeminiEmbed(), embedded("embedContent"))):
        assert dialect.refusal_message(DENIAL, request) == dialect.refusal(DENIAL)
        assert dialect.without_tools(request, frozenset({"f"})) == ()


def test_media_that_is_no_base64_is_read() -> None:
    asked = read(contents=parts({"inlineData": {"mimeType": "image/png", "data": "the key"}}))
    assert asked.not_inspected == ("image",)
    assert [(text.text, text.path[-1]) for text in asked.texts if text.path[-1] == "data"] == [("the key", "data")]
