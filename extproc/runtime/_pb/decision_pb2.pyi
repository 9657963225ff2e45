from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Finding(_message.Message):
    __slots__ = ("rule", "match", "scope", "action", "owasp", "path", "start", "end", "score", "monitored")
    RULE_FIELD_NUMBER: _ClassVar[int]
    MATCH_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    OWASP_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    MONITORED_FIELD_NUMBER: _ClassVar[int]
    rule: str
    match: str
    scope: str
    action: str
    owasp: _containers.RepeatedScalarFieldContainer[str]
    path: str
    start: int
    end: int
    score: float
    monitored: bool
    def __init__(self, rule: _Optional[str] = ..., match: _Optional[str] = ..., scope: _Optional[str] = ..., action: _Optional[str] = ..., owasp: _Optional[_Iterable[str]] = ..., path: _Optional[str] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., score: _Optional[float] = ..., monitored: _Optional[bool] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("time", "decision_id", "policy", "policy_revision", "dialect", "operation", "model", "stream", "method", "path", "status", "action", "reason", "ended", "cut", "findings", "findings_omitted", "not_inspected", "injection_score", "request_bytes", "response_bytes", "held_bytes_max", "decide_s", "first_byte_s", "total_s", "attributes", "inspected", "second_opinions")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TIME_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    POLICY_REVISION_FIELD_NUMBER: _ClassVar[int]
    DIALECT_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    CUT_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_FIELD_NUMBER: _ClassVar[int]
    FINDINGS_OMITTED_FIELD_NUMBER: _ClassVar[int]
    NOT_INSPECTED_FIELD_NUMBER: _ClassVar[int]
    INJECTION_SCORE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_BYTES_FIELD_NUMBER: _ClassVar[int]
    HELD_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    DECIDE_S_FIELD_NUMBER: _ClassVar[int]
    FIRST_BYTE_S_FIELD_NUMBER: _ClassVar[int]
    TOTAL_S_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    INSPECTED_FIELD_NUMBER: _ClassVar[int]
    SECOND_OPINIONS_FIELD_NUMBER: _ClassVar[int]
    time: str
    decision_id: str
    policy: str
    policy_revision: str
    dialect: str
    operation: str
    model: str
    stream: bool
    method: str
    path: str
    status: int
    action: str
    reason: str
    ended: str
    cut: bool
    findings: _containers.RepeatedCompositeFieldContainer[Finding]
    findings_omitted: int
    not_inspected: _containers.RepeatedScalarFieldContainer[str]
    injection_score: float
    request_bytes: int
    response_bytes: int
    held_bytes_max: int
    decide_s: float
    first_byte_s: float
    total_s: float
    attributes: _containers.ScalarMap[str, str]
    inspected: _containers.RepeatedScalarFieldContainer[str]
    second_opinions: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, time: _Optional[str] = ..., decision_id: _Optional[str] = ..., policy: _Optional[str] = ..., policy_revision: _Optional[str] = ..., dialect: _Optional[str] = ..., operation: _Optional[str] = ..., model: _Optional[str] = ..., stream: _Optional[bool] = ..., method: _Optional[str] = ..., path: _Optional[str] = ..., status: _Optional[int] = ..., action: _Optional[str] = ..., reason: _Optional[str] = ..., ended: _Optional[str] = ..., cut: _Optional[bool] = ..., findings: _Optional[_Iterable[_Union[Finding, _Mapping]]] = ..., findings_omitted: _Optional[int] = ..., not_inspected: _Optional[_Iterable[str]] = ..., injection_score: _Optional[float] = ..., request_bytes: _Optional[int] = ..., response_bytes: _Optional[int] = ..., held_bytes_max: _Optional[int] = ..., decide_s: _Optional[float] = ..., first_byte_s: _Optional[float] = ..., total_s: _Optional[float] = ..., attributes: _Optional[_Mapping[str, str]] = ..., inspected: _Optional[_Iterable[str]] = ..., second_opinions: _Optional[_Iterable[str]] = ...) -> None: ...

class Dropped(_message.Message):
    __slots__ = ("time", "audit_dropped")
    TIME_FIELD_NUMBER: _ClassVar[int]
    AUDIT_DROPPED_FIELD_NUMBER: _ClassVar[int]
    time: str
    audit_dropped: int
    def __init__(self, time: _Optional[str] = ..., audit_dropped: _Optional[int] = ...) -> None: ...
