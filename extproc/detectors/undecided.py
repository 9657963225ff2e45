"""What a place of improper output is when it is not a finding.

What lives here: the one word that the readers of markup, links and unseen characters share. What must not: what they
find.
"""

from __future__ import annotations

import enum


class Open(enum.Enum):
    """Nothing for ever, or not known until more text comes."""

    DEAD = "dead"
    PENDING = "pending"
