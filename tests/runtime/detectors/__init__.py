"""Tests of the clients of external detectors."""
