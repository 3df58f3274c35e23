#!/usr/bin/env bash
# Every fast path on a GPU, in ten minutes: losses, chunked head, epochs, teacher online, stored targets, host time.
#
#   benchmarks/device.sh [--json FILE] [--only PART,PART]    on the GPU; the tables go to docs/performance.md
#   benchmarks/device.sh --dry-run                           the same code on the CPU, at sizes that say nothing
#
# PYTHON names the interpreter. What one part needs and lacks (Liger, a compiler) is told in its table.
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python}" benchmarks/device.py "$@"
