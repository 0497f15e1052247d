//! End-to-end cost: CPU-seconds of `leeway run --roles ingest` over a pre-filled topic against a baseline that only
//! polls and decodes (librdkafka, simd-json, typed), in interleaved pairs; the whole process is measured.
//!
//! `leeway-bench baseline TOPIC COUNT` is the baseline; `leeway-bench drive LEEWAY COUNT` fills topics and compares;
//! `leeway-bench scale LEEWAY COUNT` compares one, two and three processes; `leeway-bench series LEEWAY COUNT` measures the memory
//! of a process with so many series in one window.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde::Deserialize;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const PARTITIONS: i32 = 4;
const PAIRS: usize = 3;

/// What a typed consumer would read of a call.
#[derive(Deserialize)]
struct Call<'a> {
    id: &'a str,
    time: &'a str,
    #[serde(borrow)]
    tenant: &'a str,
    app: &'a str,
    route: &'a str,
    environment: &'a str,
    release: &'a str,
    operation: &'a str,
    provider: &'a str,
    request_model: &'a str,
    status: &'a str,
    duration_ms: f64,
    ttft_ms: Option<f64>,
    tokens: Tokens,
}

#[derive(Deserialize)]
struct Tokens {
    input: u64,
    output: u64,
}

fn kafka() -> Outcome<String> {
    Ok(std::env::var("LEEWAY_TEST_KAFKA")?)
}

/// CPU seconds of this process so far, user and system.
fn cpu_self() -> f64 {
    cpu_of("self").unwrap_or(0.0)
}

/// From /proc: utime and stime, in ticks of 10 ms.
fn cpu_of(pid: &str) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    Some((fields[11].parse::<f64>().ok()? + fields[12].parse::<f64>().ok()?) / 100.0)
}

fn baseline(topic: &str, count: u64) -> Outcome<()> {
    let mut config = rdkafka::config::ClientConfig::new();
    config.set("bootstrap.servers", kafka()?).set("group.id", "baseline").set("enable.auto.commit", "false");
    config
        .set("auto.offset.reset", "earliest")
        .set("fetch.queue.backoff.ms", "20")
        .set("fetch.message.max.bytes", "8388608");
    let consumer: BaseConsumer = config.create()?;
    let mut list = rdkafka::TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(topic, partition, rdkafka::Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let (mut seen, mut checksum) = (0u64, 0u64);
    let mut bytes = Vec::new();
    let mut buffers = simd_json::Buffers::default();
    while seen < count {
        let Some(message) = consumer.poll(Duration::from_secs(10)) else { return Err("the topic is short".into()) };
        let message = message?;
        bytes.clear();
        bytes.extend_from_slice(message.payload().unwrap_or_default());
        let call: Call<'_> = simd_json::serde::from_slice_with_buffers(&mut bytes, &mut buffers)?;
        let texts = [
            call.id,
            call.time,
            call.tenant,
            call.app,
            call.route,
            call.environment,
            call.release,
            call.operation,
            call.provider,
            call.request_model,
            call.status,
        ];
        checksum += texts.iter().map(|text| text.len() as u64).sum::<u64>()
            + call.tokens.input
            + call.tokens.output
            + call.duration_ms as u64
            + call.ttft_ms.unwrap_or(0.0) as u64;
        seen += 1;
    }
    writeln!(std::io::stdout(), "{} {checksum}", cpu_self())?;
    Ok(())
}

fn run_baseline(topic: &str, count: u64) -> Outcome<f64> {
    let answer = Command::new(std::env::current_exe()?).args(["baseline", topic, &count.to_string()]).output()?;
    let text = String::from_utf8(answer.stdout)?;
    Ok(text.split_whitespace().next().ok_or_else(|| String::from_utf8_lossy(&answer.stderr).into_owned())?.parse()?)
}

fn psql(url: &str, sql: &str) -> Outcome<String> {
    let answer = Command::new("psql").args([url, "-qAtc", sql]).output()?;
    Ok(String::from_utf8(answer.stdout)?.trim().to_owned())
}

/// CPU seconds until every message is in committed panes, for one database of its own.
fn run_leeway(leeway: &str, topic: &str, count: u64, index: &str, name: &str) -> Outcome<f64> {
    let server = std::env::var("LEEWAY_TEST_DATABASE_URL")?;
    psql(&server, &format!("CREATE DATABASE {name}"))?;
    let url = format!("{}/{name}", server.rsplit_once('/').ok_or("no database in the url")?.0);
    let folder = std::env::temp_dir().join(name);
    let mut child = Command::new(leeway)
        .args(["run", "--roles", "ingest"])
        .env("LEEWAY_STORE__URL", &url)
        .env("LEEWAY_STORE__DATA_DIR", &folder)
        .env("LEEWAY_INGEST__USER_KEY", "00".repeat(32))
        .env("LEEWAY_INGEST__CALL_INDEX", index)
        .env("LEEWAY_KAFKA__BROKERS", kafka()?)
        .env("LEEWAY_KAFKA__TOPIC", topic)
        .env("LEEWAY_KAFKA__GROUP", name)
        .env("LEEWAY_KAFKA__DEAD_LETTER_TOPIC", "")
        .env("RUST_LOG", "error")
        .stdin(Stdio::null())
        .spawn()?;
    let cpu = loop {
        std::thread::sleep(Duration::from_millis(300));
        if let Some(status) = child.try_wait()? {
            return Err(format!("leeway ended: {status}").into());
        }
        let consumed = psql(&url, "SELECT COALESCE(sum(consumed), 0) FROM ledger")?;
        if consumed.parse().unwrap_or(0u64) >= count {
            break cpu_of(&child.id().to_string()).ok_or("no /proc entry")?;
        }
    };
    child.kill()?;
    child.wait()?;
    psql(&server, &format!("DROP DATABASE {name} WITH (FORCE)"))?;
    Ok(cpu)
}

/// Wall seconds until so many processes, of one thread each, have counted a topic of twelve partitions.
fn scaled(leeway: &str, topic: &str, count: u64, processes: usize) -> Outcome<f64> {
    let name = format!("bench_scale_{processes}");
    let server = std::env::var("LEEWAY_TEST_DATABASE_URL")?;
    psql(&server, &format!("CREATE DATABASE {name}"))?;
    let url = format!("{}/{name}", server.rsplit_once('/').ok_or("no database in the url")?.0);
    let start = |number: usize| {
        Command::new(leeway)
            .args(["run", "--roles", "ingest"])
            .env("LEEWAY_STORE__URL", &url)
            .env("LEEWAY_STORE__DATA_DIR", std::env::temp_dir().join(format!("{name}-{number}")))
            .env("LEEWAY_INGEST__USER_KEY", "00".repeat(32))
            .env("LEEWAY_INGEST__CALL_INDEX", "off")
            .env("LEEWAY_KAFKA__BROKERS", std::env::var("LEEWAY_TEST_KAFKA").unwrap_or_default())
            .env("LEEWAY_KAFKA__TOPIC", topic)
            .env("LEEWAY_KAFKA__GROUP", &name)
            .env("LEEWAY_KAFKA__THREADS", "1")
            .env("LEEWAY_KAFKA__DEAD_LETTER_TOPIC", "")
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .spawn()
    };
    let mut children = (0..processes).map(start).collect::<Result<Vec<_>, _>>()?;
    let consumed =
        || -> Outcome<u64> { Ok(psql(&url, "SELECT COALESCE(sum(consumed), 0) FROM ledger")?.parse().unwrap_or(0)) };
    // Joining the group takes seconds and is no throughput: the clock starts when all have their partitions.
    let owners = || psql(&url, "SELECT count(DISTINCT owner) FROM source_partition WHERE owner <> ''");
    while owners()?.parse::<usize>().unwrap_or(0) < processes {
        std::thread::sleep(Duration::from_millis(50));
    }
    let (before, started) = (consumed()?, std::time::Instant::now());
    while consumed()? < count {
        std::thread::sleep(Duration::from_millis(50));
    }
    let rate = (count - before) as f64 / started.elapsed().as_secs_f64();
    for child in &mut children {
        child.kill()?;
        child.wait()?;
    }
    psql(&server, &format!("DROP DATABASE {name} WITH (FORCE)"))?;
    Ok(rate)
}

/// Throughput by processes; broker and database share the machine.
fn scale(leeway: &str, count: u64) -> Outcome<()> {
    let topic = "bench-scale";
    let admin: rdkafka::admin::AdminClient<_> =
        rdkafka::config::ClientConfig::new().set("bootstrap.servers", kafka()?).create()?;
    let new = rdkafka::admin::NewTopic::new(topic, 12, rdkafka::admin::TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(admin.create_topics(&[new], &rdkafka::admin::AdminOptions::new()))?;
    let filled = Command::new(leeway)
        .args(["loadgen", "--brokers", &kafka()?, "--topic", topic, "--manifest", "/dev/null", "--density", "500"])
        .args(["--bytes", "1024", "--count", &count.to_string()])
        .status()?;
    if !filled.success() {
        return Err("loadgen failed".into());
    }
    for processes in 1..=3 {
        let rate = scaled(leeway, topic, count, processes)?;
        writeln!(std::io::stdout(), "{processes} processes of one thread, 12 partitions: {rate:.0} events/s")?;
    }
    Ok(())
}

/// Peak resident memory of one process that does everything, with so many series of one minute, each with one call.
fn series(leeway: &str, count: u64) -> Outcome<()> {
    let (name, tenants) = ("bench_series", 20);
    fill(name, count, tenants)?;
    let server = std::env::var("LEEWAY_TEST_DATABASE_URL")?;
    psql(&server, &format!("CREATE DATABASE {name}"))?;
    let url = format!("{}/{name}", server.rsplit_once('/').ok_or("no database in the url")?.0);
    let mut child = Command::new(leeway)
        .args(["run"])
        .env("LEEWAY_STORE__URL", &url)
        .env("LEEWAY_STORE__DATA_DIR", std::env::temp_dir().join(name))
        .env("LEEWAY_INGEST__USER_KEY", "00".repeat(32))
        .env("LEEWAY_INGEST__MAX_SERIES_PER_TENANT", (2 * count / tenants).to_string())
        .env("LEEWAY_KAFKA__BROKERS", kafka()?)
        .env("LEEWAY_KAFKA__TOPIC", name)
        .env("LEEWAY_KAFKA__GROUP", name)
        .env("LEEWAY_KAFKA__DEAD_LETTER_TOPIC", "")
        .env("LEEWAY_WEB__BIND", "127.0.0.1:0")
        .env("RUST_LOG", "error")
        .stdin(Stdio::null())
        .spawn()?;
    let outcome = watched(&mut child, &url, count);
    child.kill()?;
    child.wait()?;
    psql(&server, &format!("DROP DATABASE {name} WITH (FORCE)"))?;
    outcome
}

/// Tells the peak once all is counted, and once its minute is folded.
fn watched(child: &mut std::process::Child, url: &str, count: u64) -> Outcome<()> {
    let number = |sql: &str| -> Outcome<u64> { Ok(psql(url, sql)?.parse().unwrap_or(0)) };
    let peak = |pid: u32| -> Outcome<f64> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? * 1024.0)
    };
    let idle = peak(child.id())?;
    let (began, out) = (std::time::Instant::now(), &mut std::io::stdout());
    let done = [
        ("counted", format!("SELECT (COALESCE(sum(consumed), 0) >= {count})::int FROM ledger")),
        ("folded", "SELECT (count(*) = 0)::int FROM open_window".to_owned()),
    ];
    for (what, sql) in done {
        while number(&sql)? == 0 {
            if let Some(status) = child.try_wait()? {
                return Err(format!("leeway ended: {status}").into());
            }
            if began.elapsed() > Duration::from_secs(1_800) {
                return Err(format!("not {what} within half an hour").into());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        let (peak, seconds) = (peak(child.id())?, began.elapsed().as_secs_f64());
        writeln!(
            out,
            "{count} series in one minute, {what} after {seconds:.0} s: peak {:.2} GB resident, {:.0} bytes a series",
            peak / 1e9,
            (peak - idle) / count as f64
        )?;
    }
    let rows = number("SELECT count(*) FROM pane_delta")?;
    let leaves = number("SELECT count(*) FROM series WHERE level = 'leaf'")?;
    let bytes = number("SELECT pg_total_relation_size('pane_delta')")?;
    let each = bytes as f64 / rows.max(1) as f64;
    writeln!(out, "{leaves} leaf series, {rows} panes stored, {each:.0} bytes each with its index")?;
    Ok(())
}

/// One call a series, all of one minute that is over.
fn fill(topic: &str, count: u64, tenants: u64) -> Outcome<()> {
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    let config = || {
        let mut config = rdkafka::config::ClientConfig::new();
        config.set("bootstrap.servers", kafka().unwrap_or_default()).set("linger.ms", "50");
        config.set("queue.buffering.max.messages", "2000000").set("compression.type", "lz4");
        config
    };
    let admin: rdkafka::admin::AdminClient<_> = config().create()?;
    let new = rdkafka::admin::NewTopic::new(topic, PARTITIONS, rdkafka::admin::TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(admin.create_topics(&[new], &rdkafka::admin::AdminOptions::new()))?;
    let producer: BaseProducer = config().create()?;
    let minute = leeway_core::clock::Clock::System.wall() as u64 / 60_000_000 * 60 - 60;
    for i in 0..count {
        let (tenant, time) = (i % tenants, minute + i % 60);
        let event = format!(
            r#"{{"id":"s{i}","time":{time},"tenant":"t{tenant}","app":"a","route":"r{i}","request_model":"gpt-4o","status":"ok","duration_ms":{},"tokens":{{"input":{},"output":{}}}}}"#,
            i % 5_000 + 100,
            i % 4_000,
            i % 500,
        );
        let mut record = BaseRecord::<(), _>::to(topic).payload(&event).partition((i % PARTITIONS as u64) as i32);
        while let Err((error, back)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(rdkafka::types::RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(20));
            record = back;
        }
    }
    producer.flush(Duration::from_secs(60))?;
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn drive(leeway: &str, count: u64) -> Outcome<()> {
    let out = &mut std::io::stdout();
    for (bytes, count, goal) in [(1024, count, 0.60), (4096, count / 3, 0.45)] {
        let topic = format!("bench-{bytes}");
        let admin: rdkafka::admin::AdminClient<_> =
            rdkafka::config::ClientConfig::new().set("bootstrap.servers", kafka()?).create()?;
        let new = rdkafka::admin::NewTopic::new(&topic, PARTITIONS, rdkafka::admin::TopicReplication::Fixed(1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(admin.create_topics(&[new], &rdkafka::admin::AdminOptions::new()))?;
        let filled = Command::new(leeway)
            .args(["loadgen", "--brokers", &kafka()?, "--topic", &topic, "--manifest", "/dev/null", "--density", "500"])
            .args(["--bytes", &bytes.to_string(), "--count", &count.to_string()])
            .status()?;
        if !filled.success() {
            return Err("loadgen failed".into());
        }
        let (mut ratios, mut with_index, mut cpu) = (Vec::new(), Vec::new(), (Vec::new(), Vec::new()));
        for pair in 0..PAIRS {
            let base = run_baseline(&topic, count)?;
            let off = run_leeway(leeway, &topic, count, "off", &format!("bench_{bytes}_off_{pair}"))?;
            let on = run_leeway(leeway, &topic, count, "on", &format!("bench_{bytes}_on_{pair}"))?;
            ratios.push(base / off);
            with_index.push(base / on);
            cpu.0.push(base / count as f64 * 1e6);
            cpu.1.push(off / count as f64 * 1e6);
        }
        writeln!(
            out,
            "{bytes} B × {count}: events per CPU-second ÷ baseline: median {:.2} (goal {goal:.2}), index on {:.2}; µs CPU per event: baseline {:.2}, leeway {:.2}; pairs {ratios:.2?}",
            median(ratios.clone()),
            median(with_index),
            median(cpu.0),
            median(cpu.1),
        )?;
    }
    Ok(())
}

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["baseline", topic, count] => baseline(topic, count.parse()?),
        ["drive", leeway, count] => drive(leeway, count.parse()?),
        ["scale", leeway, count] => scale(leeway, count.parse()?),
        ["series", leeway, count] => series(leeway, count.parse()?),
        _ => {
            Err("leeway-bench baseline TOPIC COUNT | drive LEEWAY COUNT | scale LEEWAY COUNT | series LEEWAY COUNT"
                .into())
        }
    }
}
