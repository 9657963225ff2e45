"""Protobuf <-> messages: the only place that knows Envoy's body modes.

What lives here: reading ProcessingRequests as events, and spending a Session's replies on the messages that Envoy is
owed. What must not: policy, LLM APIs, sockets.

A Session thinks in duplex: any reply at any time. FULL_DUPLEX_STREAMED takes that as it is (``Duplex``). In STREAMED
and BUFFERED Envoy is owed exactly one reply per message, in order (``Lockstep``).

Facts about Envoy 1.40 that are easy to get wrong, each from a test on the real binary: only ``raw_value`` sets a
header; a BUFFERED body is complete even where ``end_of_stream`` is false (trailers follow); a gRPC stream that ends
with status OK mid-exchange lets the rest through unread, so a transport must never return while ``finished`` is false.
"""

from extproc.runtime.wire.conversation import METADATA_NAMESPACE, Conversation
from extproc.runtime.wire.modes import BodyMode, BodyModes
from extproc.runtime.wire.sides import ProtocolError

__all__ = ["METADATA_NAMESPACE", "BodyMode", "BodyModes", "Conversation", "ProtocolError"]
