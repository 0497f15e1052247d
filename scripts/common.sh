# Shared by the scripts: where things are, how Debian packages get here. Source it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deps="$root/.deps"
mkdir -p "$deps"

say() { printf '\033[1m%s\033[0m\n' "== $*" >&2; }

# need_packages PACKAGE…: installs what dpkg does not have, as root or with passwordless sudo.
need_packages() {
  local missing=()
  for package in "$@"; do
    # A removed package that left its configuration is not installed.
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  local as=()
  if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
      echo "missing Debian packages; run: sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
      exit 1
    fi
    as=(sudo)
  fi
  say "installing ${missing[*]}"
  "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# once NAME VERSION COMMAND…: runs the command unless it succeeded with this version before.
once() {
  local stamp="$deps/$1.version" version=$2
  shift 2
  [ "$(cat "$stamp" 2>/dev/null)" = "$version" ] && return 0
  "$@"
  echo "$version" > "$stamp"
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# wait_for SECONDS WHAT COMMAND…: tries twice a second.
wait_for() {
  local seconds=$1 what=$2
  shift 2
  for _ in $(seq $((seconds * 2))); do
    "$@" >/dev/null 2>&1 && return 0
    sleep 0.5
  done
  echo "$what did not come up within $seconds s" >&2
  return 1
}
