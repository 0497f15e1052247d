#!/usr/bin/env bash
# Fuzzes every decoder: fuzz.sh [check | SECONDS [TARGET…]], 60 seconds a target without more words. Seeds are the captured
# telemetry; what is found anew stays in .deps/fuzz. A crash stops it, with the input that made it.
source "$(dirname "$0")/common.sh"
need_packages g++
"$root/scripts/build-needs.sh"
# Whether the targets still build, without the sanitizer.
[ "${1:-}" = check ] && exec cargo check --locked --manifest-path "$root/fuzz/Cargo.toml" --target-dir "$root/target/fuzz"
seconds=${1:-60}
shift || true
once cargo-fuzz 0.13.2 cargo install --locked --quiet --version 0.13.2 --root "$deps/cargo-fuzz" cargo-fuzz
# The sanitizer's flags need the compiler's unstable side, which the stable one has behind this switch.
export RUSTC_BOOTSTRAP=1 PATH="$deps/cargo-fuzz/bin:$PATH" CARGO_TARGET_DIR="$deps/fuzz/target"
cd "$root/fuzz"
host=$(rustc -vV | sed -n 's/^host: //p')
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
seeds="$deps/fuzz/seeds"
mkdir -p "$seeds"
# Flat, and small enough that many runs fit into a second.
find "$root/tests/data/otlp" -type f \( -name '*.pb' -o -name '*.json' \) -size -32k | while read -r file; do
  cp -n "$file" "$seeds/$(echo "${file#"$root/tests/data/otlp/"}" | tr / _)"
done
for target in "${targets[@]}"; do
  say "fuzzing $target for $seconds s"
  mkdir -p "$deps/fuzz/$target"
  cargo fuzz run --target "$host" "$target" "$deps/fuzz/$target" "$seeds" -- \
    -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 2>&1 | tail -n 40
done
