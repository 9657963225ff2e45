"""Damaged requests and answers for every dialect, by the clock: nothing may crash, leak, grow or depend on cuts."""
