#!/usr/bin/env bash
# The tools of the tests: aiosmtpd, standardwebhooks, scipy and an OpenTelemetry client in .deps/venv; playwright-core and axe-core in .deps/node.
source "$(dirname "$0")/common.sh"
need_packages chromium python3-venv fonts-dejavu-core curl
python_tools() {
  say "installing the tests' Python packages"
  python3 -m venv --clear "$deps/venv"
  "$deps/venv/bin/pip" -q install aiosmtpd==1.4.6 standardwebhooks==1.1.0 scipy==1.17.1 jsonschema==4.25.1 pyyaml==6.0.3 \
    opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2
}
node_tools() {
  say "installing the tests' Node packages"
  mkdir -p "$deps/node"
  (cd "$deps/node" && [ -f package.json ] || echo '{"private": true}' > "$deps/node/package.json")
  (cd "$deps/node" && npm install --silent --no-audit --no-fund playwright-core@1.65.1 axe-core@4.14.1)
}
once python-tools 2 python_tools
once node-tools 1 node_tools
