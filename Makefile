# Each target does its own set-up; see README.md.
.PHONY: demo test test-long check bench grid trace-pages test-cost eval-scan scan-peers up

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
	@scripts/fuzz.sh check

bench:
	@scripts/bench.sh

grid:
	@scripts/grid.sh $(ARGS)

# Anomaly rules on the real traces, where they are.
trace-pages:
	@scripts/build-needs.sh
	@scripts/test-tools.sh
	@cargo build --release --locked -p leeway --bins
	@.deps/venv/bin/python tests/tools/trace_pages.py target/release/leeway $${TRACES:-../shared/data/traces} --changed 1.5 --changed 3

test-cost:
	@scripts/build-needs.sh
	@scripts/test-tools.sh
	@cargo build --release --locked -p leeway-tests --bin leeway-grid
	@.deps/venv/bin/python tests/tools/test_cost.py target/release/leeway-grid

eval-scan:
	@scripts/build-needs.sh
	@cargo build --release --locked -p leeway --bins
	@python3 tests/tools/eval_scan.py target/release/leeway $${SCAN_DATA:-../shared/data/pii-safety}

scan-peers:
	@scripts/build-needs.sh
	@cargo build --release --locked -p leeway --bins
	@test -x .deps/peers/bin/python || python3 -m venv .deps/peers
	@.deps/peers/bin/pip install --quiet presidio-analyzer==2.2.366 spacy==3.8.18 hyperscan==0.9.1
	@.deps/peers/bin/python tests/tools/scan_peers.py target/release/leeway $${SCAN_DATA:-../shared/data/pii-safety}

up:
	docker compose up --build
