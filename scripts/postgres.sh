#!/usr/bin/env bash
# A Postgres cluster of its own on a free port. `postgres.sh start FOLDER` prints its URL; `kill` and `stop FOLDER` end it.
source "$(dirname "$0")/common.sh"
folder=$2
find_bin() { ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1; }
# Postgres refuses to run as root.
as_user() { if [ "$(id -u)" -eq 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
case $1 in
start)
  need_packages postgresql postgresql-client
  bin=$(find_bin)
  mkdir -p "$folder"
  [ "$(id -u)" -eq 0 ] && chown postgres "$folder"
  chmod 700 "$folder"
  # A restart keeps port and data.
  if [ ! -f "$folder/data/PG_VERSION" ]; then
    as_user "$bin/initdb" -D "$folder/data" -U leeway --auth=trust --no-sync -E UTF8 --locale=C.UTF-8 >/dev/null
    free_port > "$folder/port"
  fi
  port=$(cat "$folder/port")
  as_user "$bin/pg_ctl" -D "$folder/data" -s -w -t 60 -l "$folder/postgres.log" -o "-p $port -h 127.0.0.1 -k $folder -c max_connections=200" start >&2
  as_user "$bin/psql" -qAt -h 127.0.0.1 -p "$port" -U leeway postgres -c "SELECT 1 FROM pg_database WHERE datname = 'leeway'" | grep -q 1 ||
    as_user "$bin/createdb" -h 127.0.0.1 -p "$port" -U leeway leeway
  echo "postgres://leeway@127.0.0.1:$port/leeway"
  ;;
kill)
  # As a machine that dies: no word to anybody.
  kill -9 "$(head -n 1 "$folder/data/postmaster.pid")"
  ;;
stop)
  [ -d "$folder/data" ] && as_user "$(find_bin)/pg_ctl" -D "$folder/data" -s -m immediate stop 2>/dev/null || true
  ;;
esac
