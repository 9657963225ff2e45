"""Recorded ext_proc streams of a real Envoy, and what makes them: ``python -m tests.recordings``."""
