//! A real OpenTelemetry Collector between real clients and a real broker.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use leeway_core::pane::Counter;

use crate::calls::all;
use crate::harness::{Database, Node, free_port, kafka, root, topic, unique, variable, wait_for};

struct Collector {
    child: Child,
    address: String,
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Takes OTLP by HTTP and writes batches to two topics.
fn start(program: &str, encoding: &str, topics: &[String; 2]) -> Collector {
    let address = format!("127.0.0.1:{}", free_port());
    let (config, log) = (std::env::temp_dir().join(unique("collector")), std::env::temp_dir().join(unique("log")));
    let text = format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: '{address}'}}}}}}}}\n\
         processors: {{batch: {{timeout: 200ms}}}}\n\
         exporters:\n  kafka:\n    brokers: ['{}']\n    traces: {{topic: '{}', encoding: {encoding}}}\n    logs: {{topic: '{}', encoding: {encoding}}}\n\
         service:\n  telemetry: {{metrics: {{level: none}}}}\n  pipelines:\n    \
         traces: {{receivers: [otlp], processors: [batch], exporters: [kafka]}}\n    \
         logs: {{receivers: [otlp], processors: [batch], exporters: [kafka]}}\n",
        kafka(),
        topics[0],
        topics[1]
    );
    std::fs::write(&config, text).unwrap();
    let out = std::fs::File::create(&log).unwrap();
    let mut command = Command::new(program);
    command.arg("--config").arg(&config).stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
    let collector = Collector { child: command.spawn().unwrap(), address: format!("http://{address}") };
    wait_for("the Collector", 30, || {
        std::net::TcpStream::connect(&address).map(drop).map_err(|_| std::fs::read_to_string(&log).unwrap_or_default())
    });
    collector
}

/// Captured requests, as their clients sent them.
fn post(collector: &Collector, folder: &PathBuf) -> usize {
    let mut sent = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let signal = if name.ends_with(".traces.pb") { "traces" } else { "logs" };
        if !name.ends_with(".traces.pb") && !name.ends_with(".logs.pb") {
            continue;
        }
        let done = Command::new("curl")
            .args(["-sf", "-m", "20", "-o", "/dev/null", "-H", "content-type: application/x-protobuf", "--data-binary"])
            .arg(format!("@{}", path.display()))
            .arg(format!("{}/v1/{signal}", collector.address))
            .status()
            .unwrap();
        assert!(done.success(), "{}", path.display());
        sent += 1;
    }
    sent
}

#[test]
fn both_encodings_of_a_real_collector_are_the_truth() {
    let Ok(program) = std::env::var("LEEWAY_TEST_COLLECTOR") else {
        let long = std::env::var_os("LEEWAY_TEST_LONG").is_some();
        assert!(!long, "LEEWAY_TEST_COLLECTOR is not set: run the long tests by `make test-long`");
        return println!("  SKIPPED: no Collector is built; `make test-long` builds one (scripts/collector.sh)");
    };
    let ((calls, input, failed), _) = crate::calls::truth();
    let folder = root().join("tests/data/otlp/genai-openai/exp_both");
    for encoding in ["otlp_proto", "otlp_json"] {
        let (database, topics) = (Database::new(), [topic(2), topic(2)]);
        let collector = start(&program, encoding, &topics);
        let mut node = Node::new(&database, &topics[0]);
        let sources = format!("[{{ topic = {:?} }}]", topics[1]);
        node.variables.push(("LEEWAY_KAFKA__SOURCES".into(), sources));
        let _process = node.start();
        let done = Command::new(variable("LEEWAY_TEST_PYTHON"))
            .arg(root().join("tests/tools/otel_client.py"))
            .args([&collector.address, "40", "gzip"])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "exported", "{done:?}");
        let sent = post(&collector, &folder);
        wait_for("the same truth", 60, || {
            let pane = all(&database);
            let seen = (pane.calls(), pane.token_sum(0), pane.get(Counter::Errors).n);
            // The client's calls have ten input tokens each.
            let wanted = (calls + 40, input + 400, failed);
            if seen == wanted { Ok(()) } else { Err(format!("{seen:?}, wanted {wanted:?}")) }
        });
        let bad = "SELECT sum(undecodable) + sum(dead_lettered) + sum(conflicting) FROM ledger";
        assert_eq!(database.number(bad), 0);
        println!("  {encoding}: {} calls of {sent} requests and one client", calls + 40);
    }
}
