#!/usr/bin/env bash
# The source archive and the wheel, built from a copy of the project's files (fleettest.tree), as a user gets them: the
# wheel is small and has no sources and no test modules, a new environment with it serves, and the operator's
# installation needs no compiler.
#
#   tests/dist.sh           CYTHON_CACHE_DIR and CC="ccache gcc" make repetitions cheap
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/${VENV:-.venv}/bin/python
export CYTHON_CACHE_DIR="${CYTHON_CACHE_DIR:-$PWD/build/cython-cache}" PIP_DISABLE_PIP_VERSION_CHECK=1
work=$(mktemp -d /tmp/cachefleet-dist.XXXXXX)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
fail() { echo "dist: $*" >&2; exit 1; }
bytes_max=$((16 * 1024 * 1024))

mkdir "$work/copy"
"$python" tests/support/fleettest/tree.py files | tar -c --null -T - | tar -x -C "$work/copy"
"$python" -m pip -q install build
(cd "$work/copy" && "$python" -m build --no-isolation --outdir "$work/dist" >"$work/build.log" 2>&1) ||
  { tail -40 "$work/build.log" >&2; fail "the build failed"; }

archive=$(echo "$work"/dist/*.tar.gz)
wheel=$(echo "$work"/dist/*.whl)
"$python" -m zipfile -l "$wheel" | awk 'NR > 1 { print $1 }' >"$work/names"
grep -E '_testing|\.(pyx|pxd|c|h)$' "$work/names" && fail "the wheel holds what nobody needs"
grep -qE '^cachefleet_server/engine\..*\.so$' "$work/names" || fail "the wheel has no engine"
grep -qE '^cachefleet_server/engine\.pyi$' "$work/names" || fail "the wheel has no type stubs"
grep -qE '^cachefleet_operator/' "$work/names" || fail "the wheel has no operator"
tar -tzf "$archive" >"$work/sources"
grep -q 'ds/intrin.h$' "$work/sources" || fail "the source archive lacks headers"
size=$(stat -c %s "$wheel")
[ "$size" -le "$bytes_max" ] || fail "the wheel has $size bytes"
echo "dist: $(basename "$archive") $(stat -c %s "$archive") bytes, $(basename "$wheel") $size bytes"

# -- the server: kopf and Kubernetes are not there
python3 -m venv "$work/server"
"$work/server/bin/pip" -q install --only-binary :all: "$wheel[server]"
if "$work/server/bin/python" -c 'import kopf' 2>/dev/null; then fail "the server's installation has kopf"; fi
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$work/data"
(cd "$work" && exec "$work/server/bin/cachefleet-server" --port "$port" --bind 127.0.0.1 --dir "$work/data" \
  --appendonly yes >"$work/server.log" 2>&1) &
server=$!
for _ in $(seq 300); do
  kill -0 "$server" 2>/dev/null || { cat "$work/server.log" >&2; fail "the server ended"; }
  [ "$(redis-cli -p "$port" ping 2>/dev/null)" != PONG ] || break
  sleep 0.1
done
[ "$(redis-cli -p "$port" set k v)" = OK ] || fail "SET"
[ "$(redis-cli -p "$port" get k)" = v ] || fail "GET"
kill "$server"
wait "$server" || { cat "$work/server.log" >&2; fail "the server's exit"; }
server=
echo "dist: the installed server serves"

# -- the operator: a compiler that always fails, and no source distributions
export CACHEFLEET_NO_ENGINE=1 CC=/bin/false
python3 -m venv "$work/operator"
(cd "$work/copy" && rm -rf build && "$python" -m pip -q wheel --no-build-isolation --no-deps --wheel-dir "$work/pure" .)
pure=$(echo "$work"/pure/*-py3-none-any.whl)
[ -e "$pure" ] || fail "the operator's wheel is not pure: $(ls "$work/pure")"
"$work/operator/bin/pip" -q install --only-binary :all: "$pure[operator]"
"$work/operator/bin/python" -c 'import cachefleet_operator, kopf, kubernetes'
if ls "$work"/operator/lib/python*/site-packages/cachefleet_server/*.so >/dev/null 2>&1; then fail "it has an engine"; fi
"$work/operator/bin/cachefleet-server" --check-config --port 7000 >/dev/null || fail "--check-config without an engine"
cd "$work"
if "$work/operator/bin/cachefleet-server" --port 7000 >"$work/none.log" 2>&1; then fail "served without an engine"; fi
grep -q 'This installation has no' "$work/none.log" || { cat "$work/none.log" >&2; fail "the reason is not named"; }
echo "dist: the operator installs without a compiler"
