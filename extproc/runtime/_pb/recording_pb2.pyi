from extproc.runtime._pb import ext_proc_pb2 as _ext_proc_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BodyModes(_message.Message):
    __slots__ = ("request", "response", "withhold")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    WITHHOLD_FIELD_NUMBER: _ClassVar[int]
    request: _ext_proc_pb2.ProcessingMode.BodySendMode
    response: _ext_proc_pb2.ProcessingMode.BodySendMode
    withhold: bool
    def __init__(self, request: _Optional[_Union[_ext_proc_pb2.ProcessingMode.BodySendMode, str]] = ..., response: _Optional[_Union[_ext_proc_pb2.ProcessingMode.BodySendMode, str]] = ..., withhold: _Optional[bool] = ...) -> None: ...

class Opinion(_message.Message):
    __slots__ = ("score", "skipped")
    SCORE_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    score: float
    skipped: str
    def __init__(self, score: _Optional[float] = ..., skipped: _Optional[str] = ...) -> None: ...

class Opinions(_message.Message):
    __slots__ = ("opinions",)
    OPINIONS_FIELD_NUMBER: _ClassVar[int]
    opinions: _containers.RepeatedCompositeFieldContainer[Opinion]
    def __init__(self, opinions: _Optional[_Iterable[_Union[Opinion, _Mapping]]] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("offset_us", "received", "expired", "closed", "consulted", "clock_s", "replies", "aborted", "cooling")
    OFFSET_US_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    CONSULTED_FIELD_NUMBER: _ClassVar[int]
    CLOCK_S_FIELD_NUMBER: _ClassVar[int]
    REPLIES_FIELD_NUMBER: _ClassVar[int]
    ABORTED_FIELD_NUMBER: _ClassVar[int]
    COOLING_FIELD_NUMBER: _ClassVar[int]
    offset_us: int
    received: _ext_proc_pb2.ProcessingRequest
    expired: str
    closed: str
    consulted: Opinions
    clock_s: _containers.RepeatedScalarFieldContainer[float]
    replies: _containers.RepeatedCompositeFieldContainer[_ext_proc_pb2.ProcessingResponse]
    aborted: bool
    cooling: bool
    def __init__(self, offset_us: _Optional[int] = ..., received: _Optional[_Union[_ext_proc_pb2.ProcessingRequest, _Mapping]] = ..., expired: _Optional[str] = ..., closed: _Optional[str] = ..., consulted: _Optional[_Union[Opinions, _Mapping]] = ..., clock_s: _Optional[_Iterable[float]] = ..., replies: _Optional[_Iterable[_Union[_ext_proc_pb2.ProcessingResponse, _Mapping]]] = ..., aborted: _Optional[bool] = ..., cooling: _Optional[bool] = ...) -> None: ...

class Recording(_message.Message):
    __slots__ = ("version", "decision_id", "policy", "policy_revision", "body_modes", "clock_s", "entries", "secrets_replaced", "bodies_withheld", "live_replies_differ")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DECISION_ID_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    POLICY_REVISION_FIELD_NUMBER: _ClassVar[int]
    BODY_MODES_FIELD_NUMBER: _ClassVar[int]
    CLOCK_S_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    SECRETS_REPLACED_FIELD_NUMBER: _ClassVar[int]
    BODIES_WITHHELD_FIELD_NUMBER: _ClassVar[int]
    LIVE_REPLIES_DIFFER_FIELD_NUMBER: _ClassVar[int]
    version: int
    decision_id: str
    policy: str
    policy_revision: str
    body_modes: BodyModes
    clock_s: _containers.RepeatedScalarFieldContainer[float]
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    secrets_replaced: int
    bodies_withheld: int
    live_replies_differ: bool
    def __init__(self, version: _Optional[int] = ..., decision_id: _Optional[str] = ..., policy: _Optional[str] = ..., policy_revision: _Optional[str] = ..., body_modes: _Optional[_Union[BodyModes, _Mapping]] = ..., clock_s: _Optional[_Iterable[float]] = ..., entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ..., secrets_replaced: _Optional[int] = ..., bodies_withheld: _Optional[int] = ..., live_replies_differ: _Optional[bool] = ...) -> None: ...
