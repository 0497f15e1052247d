#!/usr/bin/env bash
# What a build needs beyond Rust, a C compiler and make: OpenSSL's and zlib's headers, for librdkafka.
source "$(dirname "$0")/common.sh"
need_packages libssl-dev zlib1g-dev pkg-config
