"""Envoy's body modes: which there are, which can be guarded, and how a gateway or an operator names them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Self

from extproc.runtime._pb import ext_proc_pb2 as pb


class BodyMode(enum.Enum):
    """The body modes that can be guarded, by Envoy's names."""

    STREAMED = pb.ProcessingMode.STREAMED
    BUFFERED = pb.ProcessingMode.BUFFERED
    FULL_DUPLEX_STREAMED = pb.ProcessingMode.FULL_DUPLEX_STREAMED


@dataclass(frozen=True, slots=True)
class BodyModes:
    """How a gateway sends bodies. ``withhold``: header replies may wait for the body although it is STREAMED
    (``send_body_without_waiting_for_header_response``)."""

    request: BodyMode
    response: BodyMode
    withhold: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``REQUEST,RESPONSE[,nowait]``, as in ``--body-modes streamed,full_duplex_streamed,nowait``.

        Raises:
            ValueError: not of that form; the message lists the modes.
        """
        words = [word.strip().upper() for word in text.split(",")]
        names = {mode.name: mode for mode in BodyMode}
        if (
            not 2 <= len(words) <= 3
            or words[0] not in names
            or words[1] not in names
            or words[2:] not in ([], ["NOWAIT"])
        ):
            known = ", ".join(name.lower() for name in names)
            raise ValueError(f"body modes are REQUEST,RESPONSE[,nowait], each one of {known}")
        return cls(names[words[0]], names[words[1]], withhold=len(words) == 3)

    @classmethod
    def announced(cls, config: pb.ProtocolConfiguration) -> Self:
        """Read what Envoy announces in the first message.

        Raises:
            ValueError: a mode that hides part of a body from us; the message names it.
        """
        modes = []
        for direction, number in (("request", config.request_body_mode), ("response", config.response_body_mode)):
            if number not in {mode.value for mode in BodyMode}:
                name = pb.ProcessingMode.BodySendMode.Name(number) if number <= 5 else str(number)
                raise ValueError(f"{direction} body mode {name} hides the body; use FULL_DUPLEX_STREAMED or BUFFERED")
            modes.append(BodyMode(number))
        return cls(modes[0], modes[1], config.send_body_without_waiting_for_header_response)
