#!/bin/sh
# Generate extproc/runtime/_pb from protos/. Usage: protos/generate.sh [OUTPUT_ROOT] (default: the repository itself).
# PYTHON names an interpreter that has grpcio-tools.
set -eu
cd "$(dirname "$0")/.."
out=${1:-.}
# The virtual path makes protoc emit absolute imports, and registers each file under a name that is ours alone: the
# descriptor pool of a process knows every file by its path.
"${PYTHON:-.venv/bin/python}" -m grpc_tools.protoc \
  -Iextproc/runtime/_pb=protos \
  --python_out="$out" --pyi_out="$out" \
  extproc/runtime/_pb/ext_proc.proto extproc/runtime/_pb/recording.proto extproc/runtime/_pb/decision.proto extproc/runtime/_pb/detector.proto
