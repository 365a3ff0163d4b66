#!/usr/bin/env bash
# Fuzzes every target in tests/fuzz under the sanitizers, the given seconds (default 600) shared among them.
#
#   tests/fuzz.sh 60 [SEED]
#
# A failing input is copied to build/fuzz; how to repeat it is in tests/fuzz/harness.py.
set -euo pipefail
cd "$(dirname "$0")/.."
targets=(tests/fuzz/fuzz_*.py)
seconds=$((${1:-600} / ${#targets[@]}))
for target in "${targets[@]}"; do
  echo "fuzz: $target for $seconds s"
  if ! tests/asan.sh python "$target" "$seconds" ${2:+--seed "$2"}; then
    mkdir -p build/fuzz
    cp -v build/asan/build/fuzz/* build/fuzz/ || true
    exit 1
  fi
done
