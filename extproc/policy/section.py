"""What all sections of the policy document are made of, and those that need nothing else.

What lives here: pydantic models, used at load only. What must not: the document as a whole (``document``).
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from extproc.policy.marks import MARKER

STRICT: Final = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)
"""No unknown fields, no guessing of types, no changes after."""
CONSUMER: Final = re.compile(r"(header:[a-z0-9!#$%&'*+.^_`|~-]+|attribute:[A-Za-z0-9_.-]+)")
ToolName = Annotated[str, Field(min_length=1, max_length=256)]


def wrong(message: str) -> PydanticCustomError:
    """What a check raises; the message is for the policy's author."""
    return PydanticCustomError("policy", "{message}", {"message": message})


class SpotlightingDocument(BaseModel):
    """How rules with ``action: spotlight`` have the model see that a text is data."""

    model_config = STRICT

    method: Annotated[
        Literal["datamark", "delimit", "encode"],
        Field(description="a character between all words, tags around the text, or Base64"),
    ] = "datamark"
    note: Annotated[
        str, Field(max_length=4096, description=f"what the model is told, with {MARKER} for the mark; default: our own")
    ] = ""
    unavailable: Annotated[
        Literal["flag", "deny"], Field(description="a text that cannot be marked: record that, or refuse the request")
    ] = "flag"

    @model_validator(mode="after")
    def _names_the_mark(self) -> Self:
        if self.note and self.method != "encode" and MARKER not in self.note:
            raise wrong(f"the note must say what the mark is: {MARKER} stands for it")
        return self


class MaskingDocument(BaseModel):
    """Where the values that rules mask are put back, besides the text of the answer."""

    model_config = STRICT

    restore_in_tools: Annotated[
        list[ToolName], Field(description="tools whose arguments get the values back: exact names or globs")
    ] = []


class RetriesDocument(BaseModel):
    """When a consumer whose requests were refused may try again."""

    model_config = STRICT

    consumer: Annotated[
        str,
        Field(max_length=200, description="who asks: header:NAME, which the gateway sets, or attribute:NAME, Envoy's"),
    ]
    refusals: Annotated[int, Field(ge=1, le=50, description="refusals by injection rules within the window")] = 3
    window_s: Annotated[float, Field(gt=0, le=86400, description="time in which refusals add up")] = 300.0
    cooldown_s: Annotated[float, Field(gt=0, le=86400, description="how long it lasts, from the last refusal")] = 60.0
    score: Annotated[
        float, Field(gt=0, le=1, description="injection score from which a request is refused during the cooldown")
    ] = 0.3

    @field_validator("consumer")
    @classmethod
    def _names_one(cls, value: str) -> str:
        if CONSUMER.fullmatch(value) is None:
            raise wrong('"header:NAME" in lower case, or "attribute:NAME", such as "attribute:source.address"')
        return value
