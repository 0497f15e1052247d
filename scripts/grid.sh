#!/usr/bin/env bash
# LEEWAY-GRID-1: the stream detectors' false alarms and delays beside an oracle's and River's, all cells, failures too. About an hour on
# two cores; what is done is kept in target/grid, and a run that is stopped goes on. The table is docs/grid.md's.
source "$(dirname "$0")/common.sh"
need_packages python3-venv
river() {
  say "installing River and scipy"
  python3 -m venv --clear "$deps/river"
  "$deps/river/bin/pip" -q install river==0.26.1 scipy==1.17.1
}
once river 1 river
"$root/scripts/build-needs.sh"
cd "$root"
cargo build --release --locked -p leeway-tests --bin leeway-grid
# Threads of linear algebra beside the workers' own would only wait for one another.
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
exec "$deps/river/bin/python" tests/tools/grid.py target/release/leeway-grid --peers --out target/grid --report target/grid/table.md "$@"
