#!/usr/bin/env bash
# The README's two commands on a new Debian: a root made by debootstrap that has Python, a C compiler and make, and
# nothing of this machine but its settings for package mirrors (apt, pip, certificates).
#
#   tests/e2e/fresh_root.sh [archive|clone|both] [folder]
#
# Needs root and debootstrap; the root is kept in the folder if one is given. The project comes first as the archive that
# `git archive` makes, on a machine without git, and then as a clone on a machine with it (and with warm caches). Each
# command is run as a newcomer would: when it names an apt-get line, that line is run, and the command again. STAGES=tests
# runs those stages of `make test` alone; LEND=yes lends the root what this machine has downloaded and built before (Go's
# modules, the caches of pip, Maven, npm and cargo, Kubernetes).
set -euo pipefail
source=$(cd "$(dirname "$0")/../.." && pwd)
suite=${SUITE:-$(. /etc/os-release && echo "$VERSION_CODENAME")}
port=${PORT:-16379}
case ${1:-both} in both) ways="archive clone" ;; archive | clone) ways=$1 ;; *) sed -n 5,6p "$0" >&2; exit 2 ;; esac
keep=${2:-}
root=${keep:-$(mktemp -d /tmp/fresh-root.XXXXXX)}
server='' lent=()
[ -z "${LEND:-}" ] || lent=(go/pkg/mod .cache/pip .cache/cachefleet/kubernetes .m2/repository .npm .cargo/registry)

say() { printf '\n--- %s\n' "$*"; }
# The root is that of a mount namespace, not of a process alone: who enters a container's namespace (kubectl exec) comes
# to the namespace's root, which pivot_root of a container that starts in a chroot would leave as it is.
inside() { unshare --mount --propagation private bash -c 'cd "$1" && shift && pivot_root . . && umount -l . && cd / &&
  exec /usr/bin/env -i "$@"' enter "$root" HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
  "${settings[@]}" bash -c "cd /src && $*"; }

finish() {
  [ -z "$server" ] || kill -- "-$server" 2>/dev/null || true
  for mount in "${lent[@]/#/root/}" dev/pts dev/shm dev proc sys/fs/cgroup sys; do umount -l "$root/$mount" 2>/dev/null || true; done
  umount -l "$root" 2>/dev/null || true
  if grep -qF " $root" /proc/mounts; then echo "still mounted, and left there: $root" >&2; return; fi
  [ -n "$keep" ] || rm -rf --one-file-system "$root"
}
trap finish EXIT

if [ ! -e "$root/etc/debian_version" ]; then
  say "debootstrap $suite"
  debootstrap --variant=minbase --include=python3,gcc,make,ca-certificates "$suite" "$root" >"$root.log" 2>&1 ||
    { tail -20 "$root.log"; exit 1; }
fi
mount --bind "$root" "$root"  # what becomes a root must be a mount point
for mount in proc sys dev dev/shm dev/pts; do mount --bind "/$mount" "$root/$mount"; done
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"  # kubelet looks for them; a slave, or unmounting would reach ours
mount --make-rslave "$root/sys/fs/cgroup"
for folder in "${lent[@]}"; do
  [ ! -d "$HOME/$folder" ] || { mkdir -p "$root/root/$folder" && mount --bind "$HOME/$folder" "$root/root/$folder"; }
done

say "mirror settings of this machine"
settings=()
for name in PIP_CERT SSL_CERT_FILE REQUESTS_CA_BUNDLE NODE_EXTRA_CA_CERTS http_proxy https_proxy no_proxy PIP_INDEX_URL \
  PIP_DEFAULT_TIMEOUT; do
  [ -z "${!name:-}" ] || settings+=("$name=${!name}")
done
bundle=/etc/ssl/certs/ca-certificates.crt
rm -f "$root/etc/apt/sources.list"
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/apt/apt.conf.d /etc/apt/sources.list \
  /etc/apt/sources.list.d "$bundle" "${SSL_CERT_FILE:-$bundle}"; do
  [ -e "$file" ] || continue
  rm -rf "${root:?}$file"  # what lies there may be a link that leads out of the root
  mkdir -p "$root$(dirname "$file")"
  cp -rL "$file" "$root$file"
done
# Java has a file of its own for certificates, which its package would write anew.
if [ -e /etc/ssl/certs/java/cacerts ]; then
  cp -L /etc/ssl/certs/java/cacerts "$root/etc/ssl/mirrors.jks"
  settings+=("MAVEN_OPTS=-Djavax.net.ssl.trustStore=/etc/ssl/mirrors.jks")
fi
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" && chmod +x "$root/usr/sbin/policy-rc.d"

# The project, as committed.
bring() {
  say "the project as a$([ "$1" = clone ] || echo n) $1"
  rm -rf "$root/src" && mkdir -p "$root/src"
  if [ "$1" = archive ]; then
    if inside "command -v git" >/dev/null; then echo "the root has git already" >&2; exit 1; fi
    git -C "$source" archive HEAD | tar -x -C "$root/src"
  else
    inside "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends git >/dev/null"
    git clone -q --no-hardlinks "$source" "$root/src"
  fi
}

# Runs a command; if it ends by naming an apt-get line, runs that line (once) and the command again.
as_newcomer() {
  local log=$root/tmp/newcomer.log line
  if inside "$1" 2>&1 | tee "$log"; then return 0; fi
  line=$(grep -oE 'apt-get install -y .*' "$log" | tail -1)
  [ -n "$line" ] || return 1
  say "$line"
  inside "apt-get update -qq && DEBIAN_FRONTEND=noninteractive $line -qq >/dev/null"
  inside "$1"
}

# Starts `make run` and waits until its cache answers $1 with $2; leaves $server.
run_and_ask() {
  set -m  # a process group of its own, as a terminal gives it
  inside "exec make run PORT=$port METRICS_PORT=$((port + 1))" >"$root/tmp/run.log" 2>&1 &
  server=$!
  set +m
  for _ in $(seq 1800); do
    if inside "exec 3<>/dev/tcp/127.0.0.1/$port; printf 'AUTH %s\r\n$1\r\nQUIT\r\n' \
      \$(cat data/default/orders/orders-0/auth/password) >&3; timeout 5 cat <&3" 2>/dev/null | grep -q "$2"; then
      cat "$root/tmp/run.log"
      return 0
    fi
    kill -0 "$server" 2>/dev/null || break
    sleep 1
  done
  cat "$root/tmp/run.log"
  say "make run did not answer $1 with $2"
  exit 1
}

# As Ctrl-C in its terminal, which every process there gets.
interrupt() {
  kill -INT -- "-$server"
  wait "$server" || true
  server=
  grep -q 'Stopped' "$root/tmp/run.log" || { cat "$root/tmp/run.log"; exit 1; }
}

for way in $ways; do
  bring "$way"
  say "make run"
  as_newcomer "make check-build"
  run_and_ask 'SET k value-1' OK
  inside "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://127.0.0.1:$((port + 1))/readyz\").status)'"
  interrupt

  say "make run, again: the data is there"
  run_and_ask 'GET k' value-1
  interrupt

  say "make test"
  as_newcomer "make test${STAGES:+ ONLY=$STAGES}"
  say "both commands work on a new Debian ($suite), from a$([ "$way" = clone ] || echo n) $way"
done
