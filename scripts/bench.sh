#!/usr/bin/env bash
# The measured ratios: end to end against bare poll and decode, and the flush against raw COPY. Release build, own
# broker and database. COUNT (default 1,000,000) events of 1 KB and a third of that at 4 KB; SERIES (default 1,000,000) at once.
source "$(dirname "$0")/common.sh"
work=$(mktemp -d /tmp/leeway-bench.XXXXXX)
chmod 755 "$work"
stop() {
  "$root/scripts/kafka.sh" stop "$work/kafka"
  "$root/scripts/postgres.sh" stop "$work/postgres"
  rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT TERM
"$root/scripts/build-needs.sh"
cd "$root"
cargo build --release --locked -p leeway -p leeway-tests --bins
cargo build --release --locked -p leeway-store --benches
LEEWAY_TEST_KAFKA=$("$root/scripts/kafka.sh" start "$work/kafka")
LEEWAY_TEST_DATABASE_URL=$("$root/scripts/postgres.sh" start "$work/postgres")
export LEEWAY_TEST_KAFKA LEEWAY_TEST_DATABASE_URL
cargo bench --locked -p leeway-store --bench flush
target/release/leeway-bench drive target/release/leeway "${COUNT:-1000000}"
target/release/leeway-bench scale target/release/leeway "${COUNT:-1000000}"
target/release/leeway-bench series target/release/leeway "${SERIES:-1000000}"
