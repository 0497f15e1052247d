# Each target does its own set-up; see README.md.
.PHONY: demo test test-long check bench eval-scan up

demo:
	@scripts/build-needs.sh
	@cargo build --locked --workspace --bins
	@exec target/debug/leeway demo $(ARGS)

test:
	@scripts/test.sh

test-long:
	@scripts/test.sh long

check:
	@scripts/build-needs.sh
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

bench:
	@scripts/bench.sh

eval-scan:
	@scripts/build-needs.sh
	@cargo build --release --locked -p leeway --bins
	@python3 tests/tools/eval_scan.py target/release/leeway $${SCAN_DATA:-../shared/data/pii-safety}

up:
	docker compose up --build
