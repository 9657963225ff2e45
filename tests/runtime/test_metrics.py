"""Metrics count what records say, and nothing of the traffic becomes a label."""

from __future__ import annotations

from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from extproc.policy.decision import Action, DecisionRecord, Finding
from extproc.runtime.metrics import Metrics


def _record(**fields: Any) -> DecisionRecord:
    return DecisionRecord(decision_id="d", policy="p", revision="r", **fields)


def _samples(metrics: Metrics) -> dict[str, float]:
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        sample.name + "".join(f"/{value}" for _, value in sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("sluicegate_")
    }


def test_an_exchange_counts_what_was_done_found_and_not_read() -> None:
    metrics = Metrics()
    findings = [
        Finding("secrets-out", "aws", "response.content", Action.REDACT),
        Finding("secrets-in", "aws", "user", Action.DENY, monitored=True),
    ]
    metrics.exchange_over(
        _record(
            dialect="openai.chat", action=Action.REDACT, findings=findings, not_inspected=["image"], model="m",
            decide_s=0.002, held_bytes_max=100, ended="complete",
        )
    )  # fmt: skip
    samples = _samples(metrics)
    assert samples["sluicegate_exchanges_total/redact/openai.chat"] == 1
    assert samples["sluicegate_findings_total/redact/secrets-out"] == 1
    assert samples["sluicegate_findings_total/monitored/secrets-in"] == 1
    assert samples["sluicegate_not_inspected_total/image"] == 1
    assert samples["sluicegate_decide_seconds_count"] == 1
    assert samples["sluicegate_decide_seconds_bucket/0.0025"] == 1
    assert samples["sluicegate_held_bytes_sum"] == 100


def test_what_passed_unread_is_counted_by_why() -> None:
    metrics = Metrics()
    metrics.exchange_over(_record(ended="relayed", not_inspected=["foreign_answer"]))
    metrics.exchange_over(_record(ended="complete", not_inspected=["image"], dialect="ollama.chat"))
    samples = _samples(metrics)
    assert samples["sluicegate_relayed_total/foreign_answer"] == 1
    assert "sluicegate_relayed_total/image" not in samples
    assert samples["sluicegate_exchanges_total/allow/none"] == 1
    assert samples["sluicegate_decide_seconds_count"] == 0  # no request was read


def test_streams_are_counted_in_and_out() -> None:
    metrics = Metrics()
    metrics.stream_opened()
    metrics.stream_opened()
    metrics.stream_closed()
    assert _samples(metrics)["sluicegate_streams_active"] == metrics.streams == 1


def test_every_kind_of_trouble_has_a_counter() -> None:
    metrics = Metrics()
    metrics.stream_failed("protocol")
    metrics.internal_error()
    metrics.misconfigured("no body mode")
    metrics.audit_dropped(3)
    metrics.recording("written")
    samples = _samples(metrics)
    assert samples["sluicegate_streams_failed_total/protocol"] == 1
    assert samples["sluicegate_internal_errors_total"] == 1
    assert samples["sluicegate_misconfigured_total/no body mode"] == 1
    assert samples["sluicegate_audit_dropped_total"] == 3
    assert samples["sluicegate_recordings_total/written"] == 1


def test_only_the_policy_in_force_is_shown() -> None:
    metrics = Metrics()
    metrics.policy_loaded("default", "sha256:1")
    metrics.policy_loaded("default", "sha256:2")
    shown = [name for name in _samples(metrics) if name.startswith("sluicegate_policy_info")]
    assert shown == ["sluicegate_policy_info/default/sha256:2"]
