"""Sluicegate: LLM policy at the gateway, as an Envoy ext_proc server.

The core (messages, chat, framing, dialects, detectors, policy, body, session) is sans-I/O; the shell around it
(runtime, cli) owns sockets, files, clocks and logs. ``docs/architecture.md`` draws the house.
"""

__version__ = "0.1.0"
