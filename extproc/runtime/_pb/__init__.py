"""Generated from ``protos/`` by ``protos/generate.sh``; nothing here is written by hand."""
