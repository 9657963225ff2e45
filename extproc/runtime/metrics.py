"""What Prometheus reads. Every name is here; label values come from the policy and the code, never from traffic."""

from __future__ import annotations

from collections import Counter as Counted
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.process_collector import ProcessCollector

from extproc.policy.decision import DecisionRecord

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

_DECIDE_BUCKETS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_HELD_BUCKETS_BYTES: Final = (0, 64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 8_388_608)
_RELAYS: Final = frozenset({"endpoint", "unknown_endpoint", "foreign_answer"})


class Metrics:
    """The metrics of one process, in a registry of their own. Counts per exchange, never per chunk."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"sluicegate_{name}", text, labels, registry=registry)

        self._exchanges = counter("exchanges", "HTTP exchanges, by LLM API and what was done.", "dialect", "action")
        self._findings = counter("findings", "Findings, by policy rule and what it did.", "rule", "action")
        self._not_inspected = counter("not_inspected", "Content that no detector read.", "kind")
        self._inspected = counter("inspected", "Texts and tool calls that rules read.", "scope")
        self._relayed = counter("relayed", "Exchanges passed on unread.", "why")
        self._misconfigured = counter("misconfigured", "Exchanges refused because the gateway hides bodies.", "why")
        self._failed = counter("streams_failed", "Streams broken off by us.", "why")
        self._errors = counter("internal_errors", "Bugs met while deciding.")
        self._audit_dropped = counter("audit_dropped", "Audit lines that were lost.")
        self._recordings = counter("recordings", "Recordings, by what became of them.", "outcome")
        self._reloads = counter(
            "policy_reloads", "Times the policy's files had changed, by what came of it.", "outcome"
        )
        self._second = counter("second_opinions", "Questions to external detectors.", "detector", "outcome")
        self._second_skipped = counter(
            "second_opinions_skipped", "Questions to external detectors without an answer.", "detector", "why"
        )
        self._decide = Histogram(
            "sluicegate_decide_seconds",
            "From the last request byte to the verdict.",
            buckets=_DECIDE_BUCKETS_S,
            registry=registry,
        )
        self._held = Histogram(
            "sluicegate_held_bytes",
            "The most bytes held back at once, per exchange.",
            buckets=_HELD_BUCKETS_BYTES,
            registry=registry,
        )
        self._active = Gauge("sluicegate_streams_active", "ext_proc streams open now.", registry=registry)
        self._policy = Gauge(
            "sluicegate_policy_info", "The policy in force.", ["policy", "revision"], registry=registry
        )
        self.streams = 0

    def policy_loaded(self, name: str, revision: str) -> None:
        """Show this policy as the one in force."""
        self._policy.clear()
        self._policy.labels(name, revision).set(1)

    def policy_reload(self, outcome: str) -> None:
        """Count a policy that was read again (``changed``), or a try that could not be used (``failed``)."""
        self._reloads.labels(outcome).inc()

    def stream_opened(self) -> None:
        """Count an open stream."""
        self.streams += 1
        self._active.set(self.streams)

    def stream_closed(self) -> None:
        """Count it closed."""
        self.streams -= 1
        self._active.set(self.streams)

    def stream_failed(self, why: str) -> None:
        """Count a stream broken off by us."""
        self._failed.labels(why).inc()

    def internal_error(self) -> None:
        """Count a bug met while deciding."""
        self._errors.inc()

    def misconfigured(self, why: str) -> None:
        """Count an exchange refused because of how the gateway is configured."""
        self._misconfigured.labels(why).inc()

    def audit_dropped(self, count: int) -> None:
        """Count lost audit lines."""
        self._audit_dropped.inc(count)

    def recording(self, outcome: str) -> None:
        """Count a recording: ``written``, ``too_large``, ``overrun``, ``full`` or ``failed``."""
        self._recordings.labels(outcome).inc()

    def second_opinion(self, detector: str, outcome: str) -> None:
        """Count a question to an external detector: ``asked``, ``answered``, or ``cached`` (known, so not asked)."""
        self._second.labels(detector, outcome).inc()

    def second_opinion_skipped(self, detector: str, why: str) -> None:
        """Count a question without an answer: ``why`` is one of ``messages.SKIPPED``."""
        self._second_skipped.labels(detector, why).inc()

    def exchange_over(self, record: DecisionRecord) -> None:
        """Count everything that a record says."""
        self._exchanges.labels(record.dialect or "none", record.action.name.lower()).inc()
        for finding in record.findings:
            self._findings.labels(finding.rule, "monitored" if finding.monitored else finding.action.name.lower()).inc()
        for scope, count in Counted(record.inspected).items():
            self._inspected.labels(scope).inc(count)
        for kind in record.not_inspected:
            self._not_inspected.labels(kind).inc()
            if record.ended == "relayed" and kind in _RELAYS:
                self._relayed.labels(kind).inc()
        if record.model:  # a verdict was reached on a request that could be read
            self._decide.observe(record.decide_s)
        self._held.observe(record.held_bytes_max)

    def render(self) -> bytes:
        """All of it in Prometheus' text format (``CONTENT_TYPE``)."""
        return generate_latest(self._registry)
