"""Measurements, not tests: ``make bench``. Nothing here is asserted in CI; machines are noisy."""
