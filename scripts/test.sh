#!/usr/bin/env bash
# Everything short of test-long: sets up what is missing, starts Kafka and Postgres on free ports, runs every suite,
# and stops what it started, also after a failure. `test.sh long` adds the long runs.
source "$(dirname "$0")/common.sh"
started=$SECONDS
work=$(mktemp -d /tmp/leeway-test.XXXXXX)
chmod 755 "$work"
stop() {
  "$root/scripts/kafka.sh" stop "$work/kafka"
  "$root/scripts/postgres.sh" stop "$work/postgres"
  [ "${LEEWAY_TEST_KEEP:-}" ] && echo "kept: $work" >&2 || rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM

"$root/scripts/build-needs.sh"
"$root/scripts/test-tools.sh"
if [ -z "${LEEWAY_TEST_DATABASE_URL:-}" ]; then
  say "starting Postgres"
  LEEWAY_TEST_DATABASE_URL=$("$root/scripts/postgres.sh" start "$work/postgres")
  export LEEWAY_TEST_DATABASE_URL
fi
command -v psql >/dev/null || need_packages postgresql-client
say "building (cold: about ten minutes on two cores)"
cd "$root"
build=$SECONDS
cargo build --workspace --all-targets --locked
say "built in $((SECONDS - build)) s"
if [ -z "${LEEWAY_TEST_KAFKA:-}" ]; then
  say "starting Kafka"
  LEEWAY_TEST_KAFKA=$("$root/scripts/kafka.sh" start "$work/kafka")
  export LEEWAY_TEST_KAFKA
fi
export LEEWAY_TEST_PYTHON="$deps/venv/bin/python" LEEWAY_TEST_NODE_PATH="$deps/node/node_modules"
export LEEWAY_TEST_OUT="${LEEWAY_TEST_OUT:-$root/target/test-out}"
mkdir -p "$LEEWAY_TEST_OUT" "$work/tmp"
# What tests and the services that they start leave behind goes with the rest.
export TMPDIR="$work/tmp"
say "unit, property and contract tests"
cargo test --workspace --locked --lib --bins
say "the whole system: Kafka $LEEWAY_TEST_KAFKA, Postgres $LEEWAY_TEST_DATABASE_URL"
if [ "${1:-}" = long ]; then
  export LEEWAY_TEST_LONG=1
  LEEWAY_TEST_COLLECTOR=$("$root/scripts/collector.sh")
  export LEEWAY_TEST_COLLECTOR
elif [ -x "$deps/collector/collector" ]; then
  export LEEWAY_TEST_COLLECTOR="$deps/collector/collector"
fi
# The whole workspace again: another selection would choose other features and build twice.
cargo test --workspace --locked --test system -- --nocapture --test-threads=1
say "all suites passed in $((SECONDS - started)) s"
