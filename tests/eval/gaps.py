"""Why a secret of the corpus is not covered whole: every reason that we know and accept.

What lives here: reasons, by the names that the corpus gives its rules. What must not: secrets, counting. A miss without
a reason here is a fault, and a test says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.eval.corpus import Record

DUMMY: Final = "a dummy that looks like a placeholder: repeated, counted up, or with EXAMPLE in it"
MIDDLE: Final = "nothing fixed at its start; its literal is in its middle, and what is before that has left"
NAME: Final = "an address or an account's name, not a secret"
MORE: Final = "the span is more than the secret: a whole file or connection string; the key in it is found"
BACKSLASH: Final = "a backslash inside, which no such token has and which ends a word in a JSON string"
GUARD: Final = "begins in the middle of a word"

REASONS: Final[Mapping[str, tuple[str, ...]]] = {
    DUMMY: (
        "age-secret-key",
        "asaas-api-token",
        "aws-amazon-bedrock-api-key-long-lived",
        "gcp-application-default-credentials",
        "kingfisher.buildkite",
        "kingfisher.databricks",
        "kingfisher.digitalocean",
        "kingfisher.figma",
        "kingfisher.groq",
        "kingfisher.paystack",
        "kingfisher.readme",
        "kingfisher.replicate",
        "lark-app-id",
        "sendinblue-api-token",
        "supabase-management-token",
    ),
    MIDDLE: (
        "azure-ad",
        "azure-ad-client-secret",
        "ebay-client-id",
        "facebook-access-token",
        "hashicorp-tf-api-token",
        "kingfisher.vagrantcloud",
        "mailchimp",
        "telegram",
        "terraform",
    ),
    NAME: ("artifactory-jfrog-url", "salesforce-instance-url", "snowflake-account-host", "tableau-server-host"),
    MORE: ("azure-servicebus-connection-string", "gcp-service-account"),
    BACKSLASH: ("jwt", "slack-session-cookie"),
    GUARD: ("kingfisher.frame.io",),
}

_BY_RULE: Final = {rule: reason for reason, rules in REASONS.items() for rule in rules}


def reason(record: Record) -> str:
    """Give the reason for a miss; empty where there is none."""
    base = record.rule.rstrip("0123456789").rstrip(".")
    return _BY_RULE.get(record.rule) or _BY_RULE.get(base, "")
