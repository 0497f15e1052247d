#!/usr/bin/env bash
# A Kafka broker (KRaft, one node) on free ports. `kafka.sh start FOLDER` prints its address; `kafka.sh stop FOLDER`.
source "$(dirname "$0")/common.sh"
folder=$2
java_run() { java -Dlog4j2.configurationFile="$folder/log4j2.xml" -cp "$deps/kafka/libs/*" "$@"; }
case $1 in
start)
  "$root/scripts/kafka-libs.sh"
  mkdir -p "$folder"
  # A restart keeps ports and data.
  if [ ! -f "$folder/server.properties" ]; then
    port=$(free_port) control=$(free_port)
    cat > "$folder/server.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$control
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$control
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$folder/data
num.partitions=1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
message.max.bytes=20971520
replica.fetch.max.bytes=20971520
# Old event times must not let retention delete what a test just wrote.
log.retention.ms=-1
log.message.timestamp.before.max.ms=9223372036854775807
CONF
    cat > "$folder/log4j2.xml" <<'XML'
<Configuration status="ERROR"><Appenders><Console name="C" target="SYSTEM_ERR"><PatternLayout pattern="%d %p %c %m%n"/></Console></Appenders>
<Loggers><Root level="WARN"><AppenderRef ref="C"/></Root></Loggers></Configuration>
XML
    id=$(java_run kafka.tools.StorageTool random-uuid)
    java_run kafka.tools.StorageTool format -t "$id" -c "$folder/server.properties" >&2
  fi
  nohup java -Xmx512m -Dlog4j2.configurationFile="$folder/log4j2.xml" -cp "$deps/kafka/libs/*" kafka.Kafka "$folder/server.properties" > "$folder/kafka.log" 2>&1 < /dev/null &
  echo $! > "$folder/pid"
  port=$(sed -n 's|^advertised.listeners=PLAINTEXT://127.0.0.1:||p' "$folder/server.properties")
  wait_for 90 "Kafka (see $folder/kafka.log)" bash -c "exec 3<>/dev/tcp/127.0.0.1/$port"
  echo "127.0.0.1:$port"
  ;;
stop)
  [ -f "$folder/pid" ] && kill -9 "$(cat "$folder/pid")" 2>/dev/null || true
  ;;
esac
