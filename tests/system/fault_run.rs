//! Three processes under fire: killed, stopped at named points and woken as zombies, broker and database killed, a topic
//! made anew, another widened, while hostile traffic comes. Afterwards every window and series is recounted against
//! the load generator's manifest; and the same run without the compare-and-set must be found wrong.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, NewPartitions};
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::harness::{
    Database, KEY, Node, Process, Service, Tool, admin_at, block, call, create_topic_at, json_lines, leeway, now_us,
    produce_once, unique, wait_for,
};
use crate::traces::{Counts, chains, manifest_counts, stored_counts};

const EVENTS: &str = "events";
const SPANS: &str = "spans";
const RECORDS: &str = "records";
/// Deleted and created anew while it is read.
const REBORN: &str = "reborn";
/// Calls of one app that fail for a while: the one alert that is due.
const BEACON: &str = "beacon";
/// What the load generator does not write.
const OWN_APPS: [&str; 2] = [REBORN, BEACON];
const FIRST_LIFE: usize = 600;
const SECOND_LIFE: usize = 1500;
/// Longer than the session of 3 s: the others have taken over by then.
const TAKEN_OVER: Duration = Duration::from_millis(4500);
/// The same where machines are slow.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(20);

const RULE: &str = r#"
[[rule]]
id = "failing"
kind = "threshold"
measure = "error_rate"
by = ["app"]
window = "1m"
above = 0.25
min_events = 20
severity = "page"
receivers = ["hook"]
annotations = { summary = "calls fail", runbook = "https://example.com/failing" }
"#;

/// A small generator with a seed that is printed: the same seed is the same run of faults.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        // xorshift64*, Vigna 2016.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % n
    }
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// SIGKILL and a new start; slow: after the session's end.
    Kill {
        slow: bool,
    },
    /// Stops itself at a named point, and is woken when others have its partitions.
    StopAt(&'static str),
    /// Stopped wherever it is, replaced by a new process beside it, woken, and killed in the end.
    Replace,
    Broker,
    Database,
    /// All processes begun anew without static membership, while the topic grows from 6 to 8 partitions.
    Roll,
    Reborn,
}

struct Plan {
    events: u32,
    rate: u32,
    /// What every process has in `LEEWAY_TEST_FAULT`.
    always: &'static str,
    faults: Vec<Fault>,
    /// Seconds into the run at which the beacon begins to fail and ends to.
    failing: (u64, u64),
    /// The notices that follow from that.
    due: &'static [&'static str],
}

fn half(kills: usize, zombies: &[(usize, Fault)], outages: &[(usize, Fault)]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for kill in 0..kills {
        faults.push(Fault::Kill { slow: kill % 3 == 2 });
        faults.extend(zombies.iter().chain(outages).filter(|(after, _)| *after == kill).map(|(_, fault)| *fault));
    }
    faults
}

impl Plan {
    fn short() -> Self {
        use Fault::*;
        let mut faults = half(3, &[(0, StopAt("before_begin")), (2, StopAt("before_commit"))], &[(1, Broker)]);
        faults.extend([Roll, Reborn]);
        faults.extend(half(3, &[(1, Replace)], &[(0, Database)]));
        Self { events: 20_000, rate: 250, always: "reads=tell", faults, failing: (0, 3600), due: &["firing"] }
    }

    fn long() -> Self {
        use Fault::*;
        let zombies =
            [(1, StopAt("before_begin")), (4, StopAt("before_commit")), (8, Replace), (12, StopAt("before_begin"))];
        let outages = [(6, Broker), (10, Database)];
        let mut faults = half(17, &zombies, &outages);
        faults.extend([Roll, Reborn]);
        let zombies =
            [(1, StopAt("before_commit")), (4, StopAt("before_begin")), (8, Replace), (12, StopAt("before_commit"))];
        faults.extend(half(17, &zombies, &outages));
        Self {
            events: 130_000,
            rate: 350,
            always: "reads=tell",
            faults,
            failing: (60, 200),
            due: &["firing", "resolved"],
        }
    }

    /// A pause between the end of reading and BEGIN, zombies there, and nothing that keeps them out.
    fn without_compare_and_set() -> Self {
        let faults = half(2, &[(0, Fault::StopAt("before_begin")), (1, Fault::StopAt("before_begin"))], &[]);
        let always = "reads=tell,compare_and_set=off,before_begin=pause:0.3";
        Self { events: 5_000, rate: 250, always, faults, failing: (0, 0), due: &[] }
    }
}

/// A process that was killed: its log, and when.
struct Killed {
    log: PathBuf,
    at: i64,
}

struct Run {
    kafka: Service,
    postgres: Service,
    database: Database,
    nodes: Vec<Node>,
    processes: Vec<Process>,
    /// Logs of all processes.
    logs: Vec<PathBuf>,
    killed: Vec<Killed>,
    zombies: usize,
    /// Processes that ended by themselves and were started again, as a supervisor would.
    ended: usize,
    reborn: usize,
    widened: bool,
    always: &'static str,
    dice: Dice,
}

impl Run {
    fn new(plan: &Plan, hook: &Tool) -> Self {
        let (kafka, postgres) = (Service::start("kafka.sh"), Service::start("postgres.sh"));
        let database = Database { url: postgres.address.clone() };
        for (topic, partitions) in [(EVENTS, 6), (SPANS, 2), (RECORDS, 2), (REBORN, 3)] {
            create_topic_at(&kafka.address, topic, partitions);
        }
        let nodes: Vec<Node> = (0..3).map(|_| node(&kafka, &database, &hook.says, plan.always)).collect();
        let seed = now_us() as u64;
        println!("  seed {seed}");
        let mut run = Self {
            kafka,
            postgres,
            database,
            nodes,
            processes: Vec::new(),
            logs: Vec::new(),
            killed: Vec::new(),
            zombies: 0,
            ended: 0,
            reborn: 0,
            widened: false,
            always: plan.always,
            dice: Dice(seed | 1),
        };
        run.processes = run.nodes.iter().map(Node::start).collect();
        run.logs.extend(run.processes.iter().map(|process| process.log.clone()));
        run
    }

    fn start(&mut self, place: usize) {
        let process = self.nodes[place].start();
        self.logs.push(process.log.clone());
        // Dropping the old one kills it.
        self.processes[place] = process;
    }

    fn kill(&mut self, place: usize) {
        self.processes[place].kill();
        self.killed.push(Killed { log: self.processes[place].log.clone(), at: now_us() });
    }

    /// Waits, and starts again what ended by itself.
    fn rest(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            for place in 0..self.processes.len() {
                if !self.processes[place].running() {
                    self.ended += 1;
                    println!("  ended by itself: {}", self.processes[place].tail(1));
                    self.start(place);
                }
            }
            if Instant::now() >= until {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn suffer(&mut self, fault: Fault) {
        let pause = 1_300 + self.dice.below(1_200);
        self.rest(Duration::from_millis(pause));
        let place = self.dice.below(3) as usize;
        println!("  {fault:?} at process {place}");
        match fault {
            Fault::Kill { slow } => {
                self.kill(place);
                if slow {
                    std::thread::sleep(TAKEN_OVER);
                }
                self.start(place);
            }
            Fault::StopAt(point) => self.stop_at(place, point),
            Fault::Replace => self.replace(place),
            Fault::Broker => outage(&self.kafka),
            Fault::Database => outage(&self.postgres),
            Fault::Roll => self.roll(),
            Fault::Reborn => self.reborn(),
        }
    }

    fn stop_at(&mut self, place: usize, point: &str) {
        self.kill(place);
        let variable = |text: String| ("LEEWAY_TEST_FAULT".to_owned(), text);
        let calm = self.nodes[place].variables.clone();
        // The first of two faults of one name counts.
        self.nodes[place].variables.push(variable(format!("{point}=stop:3,{}", self.always)));
        self.start(place);
        self.nodes[place].variables = calm;
        wait_for("a process that stops itself", 60, || {
            if self.processes[place].stopped() { Ok(()) } else { Err(self.processes[place].tail(5)) }
        });
        self.taken_over();
        self.processes[place].signal(libc::SIGCONT);
        self.zombies += 1;
        self.rest(Duration::from_secs(2));
    }

    /// Waits until others have counted on from where a stopped process was; where nothing is written any more, for a while.
    fn taken_over(&self) {
        let (stopped, until) = (now_us(), Instant::now() + TAKEN_OVER_WITHIN);
        std::thread::sleep(TAKEN_OVER);
        let behind =
            format!("SELECT count(*) FROM source_partition WHERE topic = '{EVENTS}' AND flushed_at < {stopped}");
        while self.database.number(&behind) > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn replace(&mut self, place: usize) {
        self.processes[place].signal(libc::SIGSTOP);
        let new = self.nodes[place].start();
        self.logs.push(new.log.clone());
        let mut zombie = std::mem::replace(&mut self.processes[place], new);
        std::thread::sleep(TAKEN_OVER);
        zombie.signal(libc::SIGCONT);
        self.zombies += 1;
        self.rest(Duration::from_secs(3));
        zombie.kill();
        self.killed.push(Killed { log: zombie.log.clone(), at: now_us() });
    }

    /// Partitions of the calls that hold any.
    fn written(&self) -> i64 {
        let wait = Duration::from_secs(10);
        let probe: BaseConsumer =
            rdkafka::ClientConfig::new().set("bootstrap.servers", &self.kafka.address).create().unwrap();
        let holds = |part: &i32| probe.fetch_watermarks(EVENTS, *part, wait).unwrap().1 > 0;
        (0..8).filter(holds).count() as i64
    }

    fn roll(&mut self) {
        let wider = NewPartitions::new(EVENTS, 8);
        let admin = admin_at(&self.kafka.address);
        let made = block(admin.create_partitions(&[wider], &AdminOptions::new())).unwrap();
        made.into_iter().for_each(|result| drop(result.unwrap()));
        self.widened = true;
        let begun = now_us();
        for place in 0..self.nodes.len() {
            self.nodes[place].variables.push(("LEEWAY_KAFKA__STATIC_MEMBERSHIP".into(), "false".into()));
            self.processes[place].interrupt();
            self.start(place);
        }
        let owned = format!(
            "SELECT count(*) FROM source_partition WHERE topic = '{EVENTS}' AND owner <> '' AND flushed_at > {begun}"
        );
        self.database.wait_number("an owner for every partition", 60, &owned, 8);
    }

    /// All that was read is counted; then the topic is another one, longer than the old one was.
    fn reborn(&mut self) {
        let brokers = self.kafka.address.clone();
        let write = |life: &str, n: usize| {
            let now = now_us();
            let calls: Vec<String> = (0..n).map(|i| call(&format!("{life}-{i}"), now, REBORN, 5.0)).collect();
            produce_once(&brokers, REBORN, calls.iter().enumerate().map(|(i, c)| ((i % 3) as i32, now, c.as_bytes())));
        };
        write("first", FIRST_LIFE);
        let consumed = format!("SELECT COALESCE(sum(consumed), 0) FROM ledger WHERE topic = '{REBORN}'");
        self.database.wait_number("the first life", 60, &consumed, FIRST_LIFE as i64);
        let deleted = block(admin_at(&brokers).delete_topics(&[REBORN], &AdminOptions::new())).unwrap();
        deleted.into_iter().for_each(|result| drop(result.unwrap()));
        create_topic_at(&brokers, REBORN, 3);
        write("second", SECOND_LIFE);
        self.reborn = FIRST_LIFE + SECOND_LIFE;
    }

    /// What counts as wrong, in words.
    fn verify(&self, manifest: &serde_json::Value, beacon: &BTreeMap<i64, i64>) -> Result<(), String> {
        chains(&self.database)?;
        let mut stored = stored_counts(&self.database);
        let own: Counts = stored.extract_if(.., |(_, labels), _| OWN_APPS.contains(&labels[1].as_str())).collect();
        let expected = manifest_counts(manifest);
        if let Some((key, counts)) = expected.iter().find(|(key, counts)| stored.get(*key) != Some(*counts)) {
            return Err(format!("{key:?}: {:?} stored, {counts:?} written", stored.get(key)));
        }
        if stored.len() != expected.len() {
            return Err(format!("{} windows and series stored, {} written", stored.len(), expected.len()));
        }
        let of = |app: &str| -> BTreeMap<i64, i64> {
            let mine = own.iter().filter(|((_, labels), _)| labels[1] == app);
            mine.map(|((minute, _), counts)| (*minute, counts[0])).collect()
        };
        if of(BEACON) != *beacon {
            return Err(format!("the beacon: {:?} stored, {beacon:?} written", of(BEACON)));
        }
        if of(REBORN).values().sum::<i64>() != self.reborn as i64 {
            return Err(format!("the recreated topic: {:?} stored, {} written", of(REBORN), self.reborn));
        }
        self.ledger(manifest, beacon)
    }

    fn ledger(&self, manifest: &serde_json::Value, beacon: &BTreeMap<i64, i64>) -> Result<(), String> {
        let sum = |column: &str, topic: &str| {
            self.database.number(&format!("SELECT COALESCE(sum({column}), 0) FROM ledger WHERE topic = '{topic}'"))
        };
        let written = |name: &str| manifest["written"][name].as_i64().unwrap();
        let equal = |what: &str, stored: i64, expected: i64| {
            if stored == expected { Ok(()) } else { Err(format!("{what}: {stored} stored, {expected} written")) }
        };
        if let Some(form) = ["gzipped", "enveloped", "json_pairs"].into_iter().find(|form| written(form) == 0) {
            return Err(format!("{form}: none written"));
        }
        equal("messages", sum("consumed", EVENTS), written("messages") + beacon.values().sum::<i64>())?;
        equal("spans", sum("consumed", SPANS), written("spans"))?;
        equal("records", sum("consumed", RECORDS), written("spans"))?;
        equal("poison", sum("undecodable", EVENTS), written("poison"))?;
        equal("contradictions", sum("conflicting", EVENTS) + sum("conflicting", SPANS), 0)?;
        let quarantined = "SELECT count(*) FROM dead_letter WHERE reason = 'quarantined'";
        equal("quarantined", self.database.number(quarantined), 0)?;
        equal("dead letters", self.database.number("SELECT count(*) FROM dead_letter"), written("poison"))?;
        equal("gaps", self.database.number("SELECT count(*) FROM flush_range WHERE gap = 1"), 0)
    }

    /// Kills after which an offset that the dead process had read was flushed by another one.
    fn reread(&self) -> usize {
        let sql = "SELECT topic, part, from_offset, to_offset, flushed_at FROM flush_range WHERE gap = 0";
        let mut ranges: HashMap<(String, String), Vec<[i64; 3]>> = HashMap::new();
        for row in self.database.query(sql).unwrap() {
            let range = [2, 3, 4].map(|column: usize| row[column].parse().unwrap());
            ranges.entry((row[0].clone(), row[1].clone())).or_default().push(range);
        }
        let again = |killed: &&Killed| {
            last_reads(&killed.log).into_iter().any(|(partition, offset)| {
                let all = ranges.get(&partition).map(Vec::as_slice).unwrap_or_default();
                all.iter().any(|[from, to, at]| *from <= offset && offset < *to && *at > killed.at)
            })
        };
        self.killed.iter().filter(again).count()
    }

    /// Lines of all logs that hold a text.
    fn said(&self, text: &str) -> usize {
        let count = |log: &PathBuf| {
            std::fs::read_to_string(log).unwrap_or_default().lines().filter(|line| line.contains(text)).count()
        };
        self.logs.iter().map(count).sum()
    }

    /// Changes of owner per partition of the main topic.
    fn moves(&self) -> BTreeMap<String, i64> {
        let sql = format!(
            "SELECT part, count(*) FROM (SELECT part, owner, lag(owner) OVER (PARTITION BY part ORDER BY from_offset) AS before \
             FROM flush_range WHERE topic = '{EVENTS}') r WHERE owner <> before GROUP BY part"
        );
        let rows = self.database.query(&sql).unwrap();
        rows.into_iter().map(|row| (row[0].clone(), row[1].parse().unwrap())).collect()
    }
}

fn node(kafka: &Service, database: &Database, hook: &str, always: &str) -> Node {
    let mut node = Node::new(database, EVENTS);
    let source = |topic: &str, format: &str| format!("{{ topic = {topic:?}, format = {format:?} }}");
    let sources = [source(SPANS, "otlp-traces"), source(RECORDS, "otlp-logs"), source(REBORN, "leeway-json")];
    node.rules = RULE.into();
    node.extra = format!("[[receiver]]\nname = \"hook\"\nwebhook = {{ url = \"{hook}\", signing_key = \"{KEY}\" }}\n");
    node.variables = [
        ("LEEWAY_KAFKA__BROKERS", kafka.address.clone()),
        ("LEEWAY_KAFKA__SOURCES", format!("[{}]", sources.join(", "))),
        ("LEEWAY_KAFKA__THREADS", "1".to_owned()),
        ("LEEWAY_INGEST__FLUSH_MS", "700".to_owned()),
        ("LEEWAY_TEST_FAULT", always.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    node
}

fn outage(service: &Service) {
    service.kill();
    std::thread::sleep(Duration::from_millis(700));
    service.restart();
    std::thread::sleep(Duration::from_secs(1));
}

/// (topic, partition) → the last offset that a process read.
fn last_reads(log: &PathBuf) -> HashMap<(String, String), i64> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let parse = |line: &str| {
        let (partition, offset) = line.strip_prefix("read ")?.split_once('@')?;
        let (topic, partition) = partition.split_once('/')?;
        Some(((topic.to_owned(), partition.to_owned()), offset.parse().ok()?))
    };
    text.lines().filter_map(parse).collect()
}

fn loadgen(plan: &Plan, brokers: &str, manifest: &std::path::Path) -> Child {
    let (events, rate) = (plan.events.to_string(), plan.rate.to_string());
    Command::new(leeway())
        .args(["loadgen", "--brokers", brokers, "--topic", EVENTS, "--count", &events, "--rate", &rate, "--live"])
        .args(["--duplicates", "0.05", "--late", "0.1", "--poison", "0.01", "--pairs", "0.1", "--dressed", "0.2"])
        .args(["--traces-topic", SPANS, "--logs-topic", RECORDS, "--manifest"])
        .arg(manifest)
        .spawn()
        .unwrap()
}

/// Writes the beacon until the load generator is done; answers its calls by minute.
fn shine(brokers: &str, failing: (u64, u64), done: &std::sync::atomic::AtomicBool) -> BTreeMap<i64, i64> {
    let (mut written, begun) = (BTreeMap::new(), Instant::now());
    for round in 0.. {
        if done.load(std::sync::atomic::Ordering::Relaxed) {
            break;
        }
        let wrong = (failing.0..failing.1).contains(&begun.elapsed().as_secs());
        let now = now_us();
        let calls: Vec<String> = (0..4)
            .map(|i| {
                let call = call(&format!("beacon-{round}-{i}"), now, BEACON, 5.0);
                if wrong && i < 2 { call.replace("\"status\":\"ok\"", "\"status\":\"error\"") } else { call }
            })
            .collect();
        *written.entry(now.div_euclid(60_000_000) * 60_000_000).or_default() += 4;
        produce_once(brokers, EVENTS, calls.iter().enumerate().map(|(i, call)| (i as i32, now, call.as_bytes())));
        std::thread::sleep(Duration::from_millis(900));
    }
    written
}

/// What was written: the load generator's manifest, and the beacon's calls by minute.
type Truth = (serde_json::Value, BTreeMap<i64, i64>);

/// Suffers the plan's faults, and more kills until everything is written.
fn through(run: &mut Run, plan: &Plan) -> Truth {
    let manifest = std::env::temp_dir().join(unique("manifest"));
    let mut writer = loadgen(plan, &run.kafka.address, &manifest);
    let done = std::sync::atomic::AtomicBool::new(false);
    let brokers = run.kafka.address.clone();
    let beacon = std::thread::scope(|scope| {
        let beacon = scope.spawn(|| shine(&brokers, plan.failing, &done));
        let ending = Ending(&done);
        plan.faults.iter().for_each(|fault| run.suffer(*fault));
        while writer.try_wait().unwrap().is_none() {
            run.suffer(Fault::Kill { slow: false });
        }
        drop(ending);
        beacon.join().unwrap()
    });
    assert!(writer.wait().unwrap().success(), "the load generator failed");
    (serde_json::from_str(&std::fs::read_to_string(manifest).unwrap()).unwrap(), beacon)
}

/// Ends the beacon also when the run fails.
struct Ending<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Waits until the counts are right, and answers what is wrong otherwise.
fn settle(run: &mut Run, (manifest, beacon): &Truth, seconds: u64) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        run.rest(Duration::from_secs(2));
        match run.verify(manifest, beacon) {
            Err(_) if Instant::now() < deadline => {}
            verdict => return verdict,
        }
    }
}

/// The notices that are due for the beacon, in order, and no others, each under one key however often it came.
fn due_alerts(run: &mut Run, log: &std::path::Path, due: &[&str]) {
    let deadline = Instant::now() + Duration::from_secs(180);
    let told = loop {
        run.rest(Duration::from_secs(1));
        let requests = json_lines(log);
        let mut told: BTreeMap<String, (i64, String)> = BTreeMap::new();
        for request in &requests {
            let data = &request["body"]["data"];
            assert!(request["verified"] == true && data["labels"]["app"] == BEACON, "{request}");
            let what = (data["sequence"].as_i64().unwrap(), data["status"].as_str().unwrap().to_owned());
            let known = told.entry(request["id"].to_string()).or_insert_with(|| what.clone());
            assert_eq!(*known, what, "one key for one notice");
        }
        if told.len() >= due.len() || Instant::now() > deadline {
            println!("  {} webhooks, {} notices", requests.len(), told.len());
            break told;
        }
    };
    let mut told: Vec<(i64, String)> = told.into_values().collect();
    told.sort();
    assert_eq!(told.iter().map(|(_, status)| status.as_str()).collect::<Vec<_>>(), due);
    assert_eq!(run.database.number("SELECT count(DISTINCT labels) FROM alert WHERE fired_at IS NOT NULL"), 1);
}

#[test]
fn three_processes_under_fire_count_what_was_written() {
    let long = std::env::var_os("LEEWAY_TEST_LONG").is_some();
    let plan = if long { Plan::long() } else { Plan::short() };
    let log = std::env::temp_dir().join(unique("log"));
    let hook = Tool::start("webhook.py", &[KEY, log.to_str().unwrap(), "204"]);
    let mut run = Run::new(&plan, &hook);
    let truth = through(&mut run, &plan);
    assert_eq!(settle(&mut run, &truth, 120), Ok(()));
    let (kills, reread, moves) = (run.killed.len(), run.reread(), run.moves());
    let fenced = run.said("the partition is no longer ours; its buffer is dropped");
    println!(
        "  {} calls, {kills} kills, {reread} with offsets read again, {} zombies, {fenced} fenced buffers, {} ends, owner changes {moves:?}",
        truth.0["calls"], run.zombies, run.ended
    );
    assert!(run.said("the topic was created anew since it was last read") >= 1, "an alarm");
    assert_eq!(
        run.database
            .number(&format!("SELECT count(DISTINCT incarnation) FROM source_partition WHERE topic = '{REBORN}'")),
        2
    );
    due_alerts(&mut run, &log, plan.due);
    // In the short form the two new partitions have little time to move, and of the six others chance leaves one or two in peace.
    let (least_kills, least_reread, least_zombies, least_fenced) = if long { (30, 25, 8, 3) } else { (6, 3, 3, 1) };
    assert!(kills >= least_kills && reread >= least_reread && run.zombies >= least_zombies && fenced >= least_fenced);
    let moved = moves.values().filter(|moves| **moves >= if long { 5 } else { 1 }).count();
    assert!(moved >= if long { 8 } else { 4 }, "{moves:?}");
    let flushed = format!("SELECT count(DISTINCT part) FROM flush_range WHERE topic = '{EVENTS}'");
    // A writer learns of new partitions within ten seconds: in the short form it may have ended before.
    let written = run.written();
    assert!(written >= if long { 8 } else { 6 }, "{written} partitions were written to");
    assert_eq!(run.database.number(&flushed), written, "every partition that was written to");
}

#[test]
fn without_the_compare_and_set_the_counts_are_found_wrong() {
    let plan = Plan::without_compare_and_set();
    let log = std::env::temp_dir().join(unique("log"));
    let hook = Tool::start("webhook.py", &[KEY, log.to_str().unwrap(), "204"]);
    let mut run = Run::new(&plan, &hook);
    let truth = through(&mut run, &plan);
    let verdict = settle(&mut run, &truth, 10);
    println!("  {verdict:?}");
    assert!(verdict.is_err(), "the recount finds nothing although nothing keeps zombies out");
}
