"""Our messages are Envoy's on the wire, as an independent implementation of Envoy's API sees them."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import BoolValue
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.runtime._pb import ext_proc_pb2 as pb
from extproc.runtime.transports.base import METHOD, SERVICE

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its classes use what pydantic has deprecated
    import envoy_data_plane.envoy.config.core.v3 as core
    import envoy_data_plane.envoy.extensions.filters.http.ext_proc.v3 as ext_proc_filter
    import envoy_data_plane.envoy.service.ext_proc.v3 as ext_proc
    import envoy_data_plane.envoy.type.v3 as types
    from envoy_data_plane.google.protobuf import Any as TheirAny

ROOT: Final = Path(__file__).parent.parent.parent
OURS: Final = sorted(pb.DESCRIPTOR.message_types_by_name)
WELL_KNOWN: Final = {Struct.DESCRIPTOR.full_name, Duration.DESCRIPTOR.full_name, BoolValue.DESCRIPTOR.full_name}
TYPES: Final = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT32: "enum",  # HttpStatus.code: an enum of Envoy's, the same on the wire
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_ENUM: "enum",
    FieldDescriptor.TYPE_MESSAGE: "message",
}


def _theirs(name: str) -> Any:
    for module in (ext_proc, core, types, ext_proc_filter):
        if hasattr(module, name):
            return getattr(module, name)
    raise AssertionError(f"Envoy has no {name}")


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


@pytest.mark.parametrize("name", OURS)
def test_every_field_has_the_number_the_type_and_the_oneof_that_envoy_gives_it(name: str) -> None:
    theirs = {
        field.metadata["betterproto"].number: (field.name, field.metadata["betterproto"])
        for field in dataclasses.fields(_theirs(name))
    }
    for field in pb.DESCRIPTOR.message_types_by_name[name].fields:
        their_name, meta = theirs[field.number]
        assert field.name == their_name
        assert meta.proto_type == ("map" if _is_map(field) else TYPES[field.type])
        assert meta.repeated == (field.is_repeated and not _is_map(field))
        assert meta.group == (field.containing_oneof.name if field.containing_oneof else None)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (pb.ProcessingMode.BodySendMode, ext_proc_filter.ProcessingModeBodySendMode),
        (pb.ProcessingMode.HeaderSendMode, ext_proc_filter.ProcessingModeHeaderSendMode),
        (pb.CommonResponse.ResponseStatus, ext_proc.CommonResponseResponseStatus),
    ],
)
def test_every_enum_value_has_envoys_number(ours: Any, theirs: Any) -> None:
    assert dict(ours.items()) == {str(value.name): value.value for value in theirs}


def test_the_method_is_envoys() -> None:
    assert f"/{SERVICE}/{METHOD}" in Path(ext_proc.__file__).read_text(encoding="utf-8")


# ---- round trips ---------------------------------------------------------------------------------------------------


def _values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return _messages(field.message_type, depth - 1)
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    return {
        FieldDescriptor.TYPE_STRING: st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
        FieldDescriptor.TYPE_BYTES: st.binary(max_size=8),
        FieldDescriptor.TYPE_BOOL: st.booleans(),
        FieldDescriptor.TYPE_INT32: st.sampled_from([200, 403, 429, 503]),
        FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
        FieldDescriptor.TYPE_DOUBLE: st.floats(allow_nan=False),
    }[field.type]


@st.composite
def _messages(draw: st.DrawFn, descriptor: Descriptor, depth: int = 4) -> Message:
    message = GetMessageClass(descriptor)()
    if descriptor.full_name == Struct.DESCRIPTOR.full_name:
        texts = st.text("abc", max_size=3)
        scalars = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | texts
        message.update(draw(st.dictionaries(texts, scalars, max_size=2)))  # type: ignore[attr-defined]
        return message
    if descriptor.full_name == Duration.DESCRIPTOR.full_name:
        message.FromMilliseconds(draw(st.integers(0, 10**7)))  # type: ignore[attr-defined]
        return message
    taken: set[str] = set()
    for field in draw(st.permutations(list(descriptor.fields))):
        oneof = field.containing_oneof.name if field.containing_oneof else field.name
        if oneof in taken or (field.message_type is not None and depth == 0) or not draw(st.booleans()):
            continue
        taken.add(oneof)
        if _is_map(field):
            assert field.message_type is not None
            entry = field.message_type.fields_by_name
            for key, value in draw(
                st.dictionaries(_values(entry["key"], depth), _values(entry["value"], depth), max_size=2)
            ).items():
                getattr(message, field.name)[key].CopyFrom(value)
        elif field.is_repeated:
            getattr(message, field.name).extend(draw(st.lists(_values(field, depth), max_size=2)))
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(draw(_values(field, depth)))
            getattr(message, field.name).SetInParent()
        else:
            setattr(message, field.name, draw(_values(field, depth)))
    return message


def _unknown(theirs: Any) -> Iterator[bytes]:
    """The bytes that they could not make sense of, at any depth."""
    if dataclasses.is_dataclass(theirs):
        yield bytes(getattr(theirs, "_unknown_fields", b""))
        for field in dataclasses.fields(theirs):
            yield from _unknown(getattr(theirs, field.name))
    elif isinstance(theirs, list | tuple):
        for item in theirs:
            yield from _unknown(item)
    elif isinstance(theirs, dict):
        yield from _unknown(list(theirs.values()))


@pytest.mark.filterwarnings("ignore:HeaderValueOption.append is deprecated")  # and the only one that has an effect
@pytest.mark.parametrize("name", OURS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_message_survives_being_read_and_written_by_envoys_types(name: str, data: st.DataObject) -> None:
    ours = data.draw(_messages(pb.DESCRIPTOR.message_types_by_name[name]))
    theirs = _theirs(name).parse(ours.SerializeToString())
    assert b"".join(_unknown(theirs)) == b""
    assert type(ours).FromString(bytes(theirs)) == ours


def test_what_we_leave_out_of_envoys_api_is_kept_and_not_misread() -> None:
    message = ext_proc.ProcessingRequest(
        request_body=ext_proc.HttpBody(body=b"x", end_of_stream_without_message=True),
        metadata_context=core.Metadata(typed_filter_metadata={"a": TheirAny(value=b"\x01")}),
    )
    ours = pb.ProcessingRequest.FromString(bytes(message))
    assert ours.request_body.body == b"x"
    assert not ours.request_body.end_of_stream
    assert ext_proc.ProcessingRequest.parse(ours.SerializeToString()) == message


# ---- generation ----------------------------------------------------------------------------------------------------


def test_the_committed_messages_are_what_protoc_makes_of_protos(tmp_path: Path) -> None:
    protos, committed = ROOT / "protos", ROOT / "extproc" / "runtime" / "_pb"
    environment = {"PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}
    subprocess.run(["sh", str(protos / "generate.sh"), str(tmp_path)], check=True, env=environment)
    made = {path.name: path.read_text() for path in (tmp_path / "extproc/runtime/_pb").iterdir()}
    assert sorted(made) == sorted(f"{path.stem}_pb2{end}" for path in protos.glob("*.proto") for end in (".py", ".pyi"))
    assert made == {path.name: path.read_text() for path in committed.glob("*_pb2.py*")}
