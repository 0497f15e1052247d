//! Starts Leeway as its users do, against services that the environment names, and reads its store with `psql`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

pub const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The built executable beside this test.
pub fn leeway() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.parent().unwrap().parent().unwrap().join("leeway")
}

pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests by `make test`"))
}

pub fn kafka() -> String {
    variable("LEEWAY_TEST_KAFKA")
}

/// Where screenshots and logs go.
pub fn out() -> PathBuf {
    let folder = std::env::var("LEEWAY_TEST_OUT").map_or_else(|_| root().join("target/test-out"), PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A shared data file, or `None` with a word about the skip; `LEEWAY_REQUIRE_SHARED=1` makes that a failure.
pub fn shared(path: &str) -> Option<PathBuf> {
    let folder = std::env::var("LEEWAY_SHARED").map_or_else(|_| root().join("../shared"), PathBuf::from);
    let path = folder.join("data").join(path);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("LEEWAY_REQUIRE_SHARED").is_none(), "{} is missing", path.display());
    println!("SKIPPED: {} is not here", path.display());
    None
}

pub fn now_us() -> i64 {
    leeway_core::clock::Clock::System.wall()
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits for a condition, with the last thing seen in the failure.
pub fn wait_for<T: std::fmt::Debug>(what: &str, seconds: u64, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        match look() {
            Ok(value) => return value,
            Err(seen) => assert!(Instant::now() < deadline, "waited {seconds} s for {what}; last seen: {seen}"),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// An empty database of its own.
#[derive(Debug)]
pub struct Database {
    pub url: String,
}

impl Database {
    pub fn new() -> Self {
        let server = variable("LEEWAY_TEST_DATABASE_URL");
        let name = unique("leeway_t");
        let made = Command::new("psql").args([&server, "-qAtc", &format!("CREATE DATABASE {name}")]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (base, _) = server.rsplit_once('/').unwrap();
        Self { url: format!("{base}/{name}") }
    }

    /// Rows as text, columns split at `|`: an independent client reads what Leeway wrote.
    pub fn query(&self, sql: &str) -> Result<Vec<Vec<String>>, String> {
        let answer =
            Command::new("psql").args([&self.url, "-qAt", "-c", sql]).output().map_err(|error| error.to_string())?;
        if !answer.status.success() {
            return Err(String::from_utf8_lossy(&answer.stderr).into_owned());
        }
        let text = String::from_utf8_lossy(&answer.stdout).into_owned();
        Ok(text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect())
    }

    pub fn number(&self, sql: &str) -> i64 {
        let rows = self.query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows[0][0].parse().unwrap_or(0)
    }

    pub fn wait_number(&self, what: &str, seconds: u64, sql: &str, expected: i64) {
        wait_for(what, seconds, || {
            let rows = self.query(sql)?;
            let seen = rows.first().and_then(|row| row[0].parse::<i64>().ok()).unwrap_or(0);
            if seen == expected { Ok(()) } else { Err(format!("{seen}, expected {expected}")) }
        });
    }

    /// The evidence of a rule's only alert, once it is in a state.
    pub fn evidence(&self, rule: &str, state: &str) -> serde_json::Value {
        wait_for(rule, 90, || {
            let rows = self.query(&format!("SELECT state, evidence FROM alert WHERE rule = '{rule}'"))?;
            let row = rows.first().ok_or("no instance")?;
            if row[0] == state {
                serde_json::from_str(&row[1..].join("|")).map_err(|error| error.to_string())
            } else {
                Err(format!("{row:?}"))
            }
        })
    }
}

pub fn admin() -> AdminClient<DefaultClientContext> {
    admin_at(&kafka())
}

pub fn admin_at(brokers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap()
}

pub fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// A fresh topic.
pub fn topic(partitions: i32) -> String {
    let name = unique("leeway-t").replace('_', "-");
    create_topic(&name, partitions);
    name
}

pub fn create_topic(name: &str, partitions: i32) {
    create_topic_at(&kafka(), name, partitions);
}

pub fn create_topic_at(brokers: &str, name: &str, partitions: i32) {
    let admin = admin_at(brokers);
    wait_for("the topic", 30, || {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let made = block(admin.create_topics(&[topic], &AdminOptions::new())).map_err(|error| error.to_string())?;
        made.into_iter().try_for_each(|result| result.map(|_| ()).map_err(|(_, code)| code.to_string()))
    });
}

/// Writes messages to one partition, stamped with event time (µs).
pub fn produce<'a>(topic: &str, messages: impl IntoIterator<Item = (i32, i64, &'a [u8])>) {
    produce_to(&kafka(), topic, messages);
}

/// What drift rules of a node compare, once all of them were looked at: calls of the five minutes before `start`, of six minutes later on,
/// and a few after each, so that windows end. `calls` makes so many of a name at a time; whether they are of the present.
pub fn two_windows(
    (database, topic, rules): (&Database, &str, i64),
    start: i64,
    calls: impl Fn(i64, (&str, usize), bool) -> Vec<String>,
    n: usize,
) {
    const MINUTE: i64 = 60_000_000;
    let send = |at: i64, name: &str, n: usize, present: bool| {
        let calls = calls(at, (name, n), present);
        produce(topic, calls.iter().enumerate().map(|(i, call)| ((i % 2) as i32, at, call.as_bytes())));
    };
    send(start - 5 * MINUTE, "before", n, false);
    send(start, "marker-0", 2, false);
    database.wait_number("a first evaluation", 90, "SELECT count(*) FROM rule_progress", rules);
    let present = start + 6 * MINUTE;
    send(present, "now", n, true);
    send(present + MINUTE, "marker-1", 2, false);
    send(present + 2 * MINUTE, "marker-2", 2, false);
}

/// What `leeway run` says of rules and settings that it refuses.
pub fn refused(rules: &str, settings: &str) -> String {
    let folder = std::env::temp_dir().join(unique("refused"));
    std::fs::create_dir_all(&folder).unwrap();
    let (config, file) = (folder.join("leeway.toml"), folder.join("rules.toml"));
    std::fs::write(&file, rules).unwrap();
    std::fs::write(&config, format!("[rules]\nfile = {file:?}\n{settings}")).unwrap();
    let output = Command::new(leeway()).arg("run").arg("--config").arg(&config).current_dir(&folder).output().unwrap();
    assert!(!output.status.success(), "{settings}");
    String::from_utf8(output.stderr).unwrap()
}

/// As `produce`, to a given broker; waits for its word on every message.
pub fn produce_to<'a>(brokers: &str, topic: &str, messages: impl IntoIterator<Item = (i32, i64, &'a [u8])>) {
    produce_with(brokers, topic, messages, false);
}

/// As `produce_to`; each message is there once, also when the broker dies. It takes half a second more.
pub fn produce_once<'a>(brokers: &str, topic: &str, messages: impl IntoIterator<Item = (i32, i64, &'a [u8])>) {
    produce_with(brokers, topic, messages, true);
}

fn produce_with<'a>(
    brokers: &str,
    topic: &str,
    messages: impl IntoIterator<Item = (i32, i64, &'a [u8])>,
    idempotent: bool,
) {
    let mut config = ClientConfig::new();
    config.set("enable.idempotence", idempotent.to_string());
    config.set("bootstrap.servers", brokers).set("message.max.bytes", "20000000");
    let producer: ThreadedProducer<DefaultProducerContext> = config.create().unwrap();
    for (partition, at, payload) in messages {
        let record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(payload).timestamp(at / 1000);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(90)).unwrap();
}

/// A running `leeway run`, killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pub log: PathBuf,
}

/// Settings of a run: a folder, a config file, and variables.
#[derive(Debug, Clone)]
pub struct Node {
    pub folder: PathBuf,
    pub database: String,
    pub topic: String,
    pub extra: String,
    pub rules: String,
    pub variables: Vec<(String, String)>,
}

impl Node {
    pub fn new(database: &Database, topic: &str) -> Self {
        let folder = std::env::temp_dir().join(unique("leeway-node"));
        std::fs::create_dir_all(&folder).unwrap();
        Self {
            folder,
            database: database.url.clone(),
            topic: topic.to_owned(),
            extra: String::new(),
            rules: String::new(),
            variables: Vec::new(),
        }
    }

    /// Writes the files and starts the process; waits until its partitions have an owner unless told not to.
    pub fn start(&self) -> Process {
        let rules = self.folder.join("rules.toml");
        std::fs::write(&rules, &self.rules).unwrap();
        let key = self.folder.join("user.key");
        std::fs::write(&key, "ab".repeat(32)).unwrap();
        let config = self.folder.join("leeway.toml");
        let text = format!(
            "[store]\nurl = {:?}\ndata_dir = {:?}\n[ingest]\nuser_key_file = {key:?}\nflush_ms = 200\n[rules]\nfile = {rules:?}\n\
             [kafka]\nbrokers = {:?}\ntopic = {:?}\ngroup = {:?}\ndead_letter_topic = \"\"\nsession_timeout_ms = 3000\n\
             [web]\nbind = \"127.0.0.1:0\"\n[webhook]\nallow_private = true\nallow_http = true\n{}",
            self.database,
            self.folder,
            kafka(),
            self.topic,
            self.topic,
            self.extra
        );
        std::fs::write(&config, text).unwrap();
        let log = self.folder.join(unique("log"));
        let file = std::fs::File::create(&log).unwrap();
        let child = Command::new(leeway())
            .args(["run", "--config"])
            .arg(&config)
            .envs(self.variables.clone())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Process { child, log }
    }
}

impl Process {
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn interrupt(&mut self) -> bool {
        signal(self.child.id(), libc::SIGINT);
        self.child.wait().unwrap().success()
    }

    pub fn signal(&self, number: i32) {
        signal(self.child.id(), number);
    }

    /// Waits for the process to end by itself.
    pub fn ended(&mut self, seconds: u64) -> std::process::ExitStatus {
        wait_for("the process to end", seconds, || self.child.try_wait().unwrap().ok_or_else(|| "running".to_owned()))
    }

    /// Whether a signal has stopped it.
    pub fn stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
    }

    pub fn running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The last lines of its log that say more than what was read.
    pub fn tail(&self, lines: usize) -> String {
        let log = self.log();
        let said: Vec<&str> = log.lines().filter(|line| !line.starts_with("read ")).collect();
        said[said.len().saturating_sub(lines)..].join("\n")
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

fn signal(pid: u32, number: i32) {
    let sent = Command::new("kill").args([format!("-{number}"), pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

impl Process {
    /// The most memory that it had at once, bytes (Linux: VmHWM).
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("--- log of the process ---\n{}", self.tail(60));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A broker or database of its own, killed without a word and started again.
#[derive(Debug)]
pub struct Service {
    script: PathBuf,
    folder: PathBuf,
    pub address: String,
}

impl Service {
    pub fn start(script: &str) -> Self {
        // Postgres' own user must reach the folder.
        let folder = Path::new("/tmp").join(unique("leeway-service"));
        let mut service = Self { script: root().join("scripts").join(script), folder, address: String::new() };
        service.address = service.run("start");
        service
    }

    fn run(&self, what: &str) -> String {
        // The services of the other tests are named by variables that these must not see.
        let done = Command::new(&self.script).args([what]).arg(&self.folder).output().unwrap();
        assert!(done.status.success(), "{what}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    pub fn kill(&self) {
        let how = if self.script.ends_with("postgres.sh") { "kill" } else { "stop" };
        self.run(how);
    }

    pub fn restart(&self) {
        wait_for("the service to come back", 60, || {
            let done = Command::new(&self.script).arg("start").arg(&self.folder).output().unwrap();
            if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
        });
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = Command::new(&self.script).arg("stop").arg(&self.folder).output();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A Python helper of `tests/tools`, which prints a line when it listens.
#[derive(Debug)]
pub struct Tool {
    child: Child,
    /// What its first line says: the address.
    pub says: String,
}

impl Tool {
    pub fn start(script: &str, args: &[&str]) -> Self {
        let path = root().join("tests/tools").join(script);
        let mut child =
            Command::new(variable("LEEWAY_TEST_PYTHON")).arg(path).args(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut says = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut says).unwrap();
        Self { child, says: says.trim().to_owned() }
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines of JSON that a tool wrote so far.
pub fn json_lines(path: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A call in Leeway JSON.
pub fn call(id: &str, time_us: i64, app: &str, duration_ms: f64) -> String {
    format!(
        r#"{{"id":"{id}","time":{time_us},"tenant":"acme","app":"{app}","provider":"openai","request_model":"gpt-4o","status":"ok","duration_ms":{duration_ms},"ttft_ms":20,"tokens":{{"input":100,"output":10}}}}"#
    )
}

/// Where a process serves its pages.
pub fn address(process: &Process) -> String {
    wait_for("the address", 30, || {
        let log = process.log();
        let found = log.lines().find_map(|line| line.split_once("pages at ").map(|(_, url)| url.trim().to_owned()));
        found.ok_or(log)
    })
}

/// A page.
pub fn get(url: &str) -> String {
    let done = Command::new("curl").args(["-s", "-m", "20", url]).output().unwrap();
    String::from_utf8_lossy(&done.stdout).into_owned()
}
