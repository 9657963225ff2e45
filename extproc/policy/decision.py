"""What the policy says: findings, decisions, and the record of one exchange.

What lives here: plain data. Findings carry offsets and rule ids, never the matched text.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from extproc.chat import Denial, Edit, JsonPath
from extproc.policy.marks import Marks

UNHEARD: Final = "second_opinion_missing"
"""The match of a finding that stands for an answer that nobody gave."""


class Action(enum.IntEnum):
    """What a rule asks for. The strictest of several wins, so order matters."""

    ALLOW = 0
    FLAG = 1
    SPOTLIGHT = 2  # mark the whole text as data, and tell the model
    NEUTRALISE = 3  # leave the text readable, but harmless
    MASK = 4  # the upstream sees a placeholder, the client the value
    REDACT = 5
    DENY = 6


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. ``rule`` is the policy's rule id, ``match`` the pack's. ``monitored``: not acted on."""

    rule: str
    match: str
    scope: str
    action: Action
    owasp: tuple[str, ...] = ()
    path: JsonPath = ()
    start: int = 0
    end: int = 0
    score: float = 1.0
    monitored: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of judging a request or a call. ``denial`` is set exactly when ``action`` is DENY.

    ``masks``: the value that each placeholder in the edited request stands for. It goes nowhere but into the answer.
    """

    action: Action = Action.ALLOW
    findings: tuple[Finding, ...] = ()
    edits: tuple[Edit, ...] = ()
    denial: Denial | None = None
    inspected: tuple[str, ...] = ()
    not_inspected: tuple[str, ...] = ()
    injection_score: float = 0.0
    second_opinions: tuple[str, ...] = ()
    masks: Mapping[str, str] = field(default_factory=dict, repr=False)
    marks: Marks | None = None


@dataclass(slots=True)
class DecisionRecord:
    """Everything worth saying of one exchange, exactly one per Session. The shell turns it into audit and metrics."""

    decision_id: str
    policy: str
    revision: str
    dialect: str = ""
    method: str = ""
    path: str = ""
    model: str = ""
    stream: bool = False
    action: Action = Action.ALLOW
    reason: str = ""  # why it was denied, in one word: the rule id, "endpoint", "malformed", "error" ...
    status: int = 0  # the status we refused with, or the upstream's
    cut: bool = False  # the answer was ended by us
    ended: str = ""  # "complete", "refused", "cut", "closed", "error", "relayed"
    findings: list[Finding] = field(default_factory=list)
    inspected: list[str] = field(default_factory=list)  # the scope of each text and call that a rule read
    not_inspected: list[str] = field(default_factory=list)  # what none did, one entry each
    injection_score: float = 0.0
    second_opinions: list[str] = field(default_factory=list)  # what came of each text that was uncertain: guard:cleared
    request_bytes: int = 0
    response_bytes: int = 0
    held_bytes_max: int = 0
    decide_s: float = 0.0  # from the last request byte to the verdict
    first_byte_s: float = 0.0  # from the verdict to the first answer byte released
    total_s: float = 0.0
    attributes: dict[str, str] = field(default_factory=dict)
