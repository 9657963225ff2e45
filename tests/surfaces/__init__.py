"""Every place of every API that can carry text, and what becomes of a secret and of an injection there."""
