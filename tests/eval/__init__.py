"""How good the shipped detectors are, measured on the development corpora. Nothing here ships."""
