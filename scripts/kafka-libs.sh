#!/usr/bin/env bash
# Apache Kafka's jars from Maven Central, into .deps/kafka/libs.
source "$(dirname "$0")/common.sh"
fetch() {
  say "fetching Apache Kafka 4.1.0"
  rm -rf "$deps/kafka"
  mkdir -p "$deps/kafka"
  cat > "$deps/kafka/pom.xml" <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>leeway</groupId><artifactId>kafka-libs</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.1.0</version></dependency>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>4.1.0</version></dependency>
<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.1</version></dependency>
</dependencies></project>
XML
  (cd "$deps/kafka" && mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies -DoutputDirectory=libs >&2)
}
once kafka 4.1.0 fetch
