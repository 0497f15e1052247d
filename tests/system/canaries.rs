//! Content-free mode: values and words that are planted on every way in are on no way out.

use aho_corasick::AhoCorasick;
use base64::Engine;
use leeway_core::call_key::Name;
use serde_json::{Value as Json, json};
use sha2::Digest;

use crate::calls::everything;
use crate::harness::{
    Database, KEY, Node, Tool, address, create_topic, json_lines, now_us, produce, topic, unique, wait_for,
};
use crate::traces::database_ready;

const PLANTED: usize = 1_000;

/// A value that the scan knows, each another one.
fn canary(n: usize) -> String {
    let digits = |n: usize, width: usize| format!("{:0width$}", (n * 7_919 + 104_729) % 10usize.pow(width as u32));
    match n % 4 {
        0 => format!("canary{n}.person@nest{n}-industries.io"),
        1 => {
            let body = format!("4539{}{}", digits(n, 6), digits(n + 1, 5));
            let sum: u32 = body
                .bytes()
                .rev()
                .enumerate()
                .map(|(place, digit)| {
                    let digit = u32::from(digit - b'0') * if place % 2 == 0 { 2 } else { 1 };
                    digit / 10 + digit % 10
                })
                .sum();
            format!("{body}{}", (10 - sum % 10) % 10)
        }
        2 => format!(
            "sk_live_{}",
            sha2::Sha256::digest(n.to_string())[..12].iter().map(|b| format!("{b:02x}")).collect::<String>()
        ),
        _ => format!("https://user{n}:nest-{n}-Xy7pQ2@db{n}.industries.io/main"),
    }
}

/// Every form in which a careless program might keep a text.
fn forms(value: &str) -> Vec<String> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
    let mut forms = vec![value.to_owned(), hex(value.as_bytes()), engine.encode(sha2::Sha256::digest(value))];
    // Inside a longer text, at each of three alignments: what does not depend on the letters beside it.
    forms.extend((0..3).map(|before| {
        let encoded = engine.encode(format!("{}{value}", " ".repeat(before)));
        let (first, last) = ((before * 8).div_ceil(6), (before + value.len()) * 8 / 6);
        encoded[first..last].to_owned()
    }));
    // A hash of it without a key, whole or its beginning, as hex: also as the index names calls.
    let hashes = [sha2::Sha256::digest(value).to_vec(), sha2::Sha512::digest(value).to_vec()];
    forms.extend(hashes.iter().map(|hash| hex(&hash[..16])));
    let names = [Name::Id(value), Name::Trace(value), Name::ResponseId(value), Name::Conversation(value)];
    forms.extend(names.map(|name| hex(&name.key())));
    forms
}

struct Planter {
    next: usize,
    at: i64,
}

impl Planter {
    fn next(&mut self) -> String {
        self.next += 1;
        canary(self.next - 1)
    }

    /// A sentence that is no value, and holds one.
    fn words(&mut self) -> String {
        format!("please note down that {} is what she said to me on the phone", self.next())
    }

    /// A call with a canary wherever one may stand.
    fn call(&mut self) -> Json {
        json!({
            "time": self.at,
            "id": self.next(), "tenant": "acme", "app": self.next(), "route": self.next(), "release": self.next(),
            "environment": self.next(), "provider": "openai", "request_model": self.next(),
            "trace_id": self.next(), "span_id": self.next(), "response_id": self.next(),
            "conversation": self.next(), "user": self.next(),
            "status": "error", "error_type": self.words(),
            "dims": {"channel": self.next()},
            "text": {
                "input": self.words(), "output": self.words(), "system": self.words(),
                "documents": [{"id": self.next(), "text": self.words(), "tenant": "other"}],
                "history": [self.words()],
            },
            "moderation": [{"source": self.next(), "source_version": "1", "category": self.next(), "action": "block"}],
            "scores": [{"name": self.next(), "value": 1}],
            "embedding": {"space": self.next(), "vector": [0.25, 0.5, -0.75]},
            "surprise": self.words(),
            "links": {"trace": self.next()},
        })
    }

    fn records(&mut self) -> Vec<Json> {
        let target = json!({"id": self.next()});
        let at = self.at;
        vec![
            json!({"kind": "feedback", "time": at, "tenant": "acme", "target": target, "name": self.next(), "value": self.words(), "source": "human", "author": self.next(), "rubric": self.words(), "identifier": self.next()}),
            json!({"kind": "change", "time": at, "tenant": "acme", "type": "release", "app": self.next(), "from": self.next(), "to": self.words(), "author": self.next(), "ticket": self.next(), "url": self.next()}),
            json!({"kind": "incident", "time": at, "tenant": "acme", "id": self.next(), "class": "privacy", "status_note": self.words(), "actions": [{"id": "1", "text": self.words(), "owner": self.next()}]}),
            json!({"kind": "evaluation", "time": at, "tenant": "acme", "suite": self.next(), "type": "redteam", "items": [{"id": self.next(), "metric": "m", "value": 1.0}]}),
            json!({"kind": "experiment", "time": at, "tenant": "acme", "name": self.next(), "arms": [self.words()]}),
            json!({"kind": "figure", "time": at, "tenant": "acme", "name": "cost_line", "value": 1.0, "source": self.words()}),
        ]
    }

    /// Messages that are refused, whole or in part.
    fn refused(&mut self) -> Vec<String> {
        let mut wrong = self.call();
        wrong["status"] = json!(7);
        let (cut, text) = (self.call().to_string(), self.words());
        let deep = format!("{}\"{}\"{}", "[".repeat(100), self.next(), "]".repeat(100));
        vec![wrong.to_string(), cut[..cut.len() - 40].to_owned(), text, deep, format!("{{\"{}\":1}}", self.next())]
    }
}

fn plant(topic: &str, url: &str) {
    let mut planter = Planter { next: 0, at: now_us() - 60_000_000 };
    while planter.next < PLANTED {
        let mut messages: Vec<String> = planter.records().iter().map(Json::to_string).collect();
        messages.extend(planter.refused());
        messages.push(planter.call().to_string());
        produce(topic, messages.iter().map(|text| (0, planter.at, text.as_bytes())));
        // By HTTP too; what is refused there is told to who sent it, and to nobody else.
        let (good, bad) = (planter.call().to_string(), planter.refused());
        let (status, said) = crate::intake::post(&format!("{url}/v1/events"), "application/json", good.as_bytes());
        assert_eq!(status, 200, "{said}");
        for body in bad {
            crate::intake::post(&format!("{url}/v1/events"), "application/json", body.as_bytes());
        }
        crate::harness::get(&format!("{url}/kpis?app={}", planter.next().replace(['@', ':', '/'], "-")));
    }
}

#[test]
fn a_thousand_canaries_are_nowhere() {
    let (database, topic, mentions, letters) =
        (Database::new(), topic(1), unique("canary-m").replace('_', "-"), unique("canary-d").replace('_', "-"));
    [&mentions, &letters].into_iter().for_each(|topic| create_topic(topic, 1));
    let hooks = std::env::temp_dir().join(unique("canary-hooks"));
    let tool = Tool::start("webhook.py", &[KEY, hooks.to_str().unwrap(), "204"]);
    let mails = std::env::temp_dir().join(unique("canary-mails"));
    let smtp = Tool::start("smtp.py", &[mails.to_str().unwrap()]);
    let mut node = Node::new(&database, &topic);
    let rule = |id: &str, measure: &str, by: &str| {
        format!(
            "[[rule]]\nid = \"{id}\"\nkind = \"threshold\"\nmeasure = \"{measure}\"\nabove = 0\nmin_events = 1\n{by}\
             severity = \"page\"\nreceivers = [\"hook\", \"mail\"]\nwindow = \"1m\"\n"
        )
    };
    // An alert by label says the label.
    node.rules = rule("leak", "pii_leaks", "by = [\"app\"]\n") + &rule("mark", "mark.truncation", "");
    node.extra = format!(
        "[scan]\nexamine_every = 1\ncontent_free = true\n[smtp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"Leeway <leeway@example.com>\"\n\
         [[receiver]]\nname = \"hook\"\nwebhook = {{ url = \"{}\", signing_key = \"{KEY}\" }}\n\
         [[receiver]]\nname = \"mail\"\nemail = {{ to = [\"oncall@example.com\"] }}\n",
        smtp.says, tool.says
    );
    node.variables = vec![
        ("RUST_LOG".into(), "trace".into()),
        ("LEEWAY_KAFKA__MENTIONS_TOPIC".into(), mentions.clone()),
        ("LEEWAY_KAFKA__DEAD_LETTER_TOPIC".into(), letters.clone()),
        (
            "LEEWAY_INGEST__DIMENSIONS".into(),
            r#"["tenant","app","route","provider","model","release","environment","dims.channel"]"#.into(),
        ),
    ];
    let process = node.start();
    database_ready(&database);
    let before = now_us() - 600_000_000;
    produce(&topic, [(0, before, crate::harness::call("first", before, "app", 1.0).as_bytes())]);
    database.wait_number("a first evaluation", 60, "SELECT count(DISTINCT rule) FROM rule_progress", 2);
    plant(&topic, &address(&process));
    let last = crate::harness::call("last", now_us(), "app", 1.0);
    produce(&topic, [(0, now_us(), last.as_bytes())]);
    crate::mentions::compared(&database, [&topic, &mentions]);
    let mut told: Vec<Json> = Vec::new();
    for (what, path) in [("both alerts", &hooks), ("their mails", &mails)] {
        told.extend(wait_for(what, 90, || {
            let seen = json_lines(path);
            if seen.len() < 2 { Err(format!("{}", seen.len())) } else { Ok(seen) }
        }));
    }
    let counted = crate::calls::all(&database);
    assert!(
        counted.calls() > 10 && counted.hits.of_origin(leeway_core::scan::Origin::Telemetry) > 10,
        "{:?}",
        counted.hits
    );
    let mut text = everything(&database, &node, &process, &told);
    drop(process);
    text += &panicked(&mut node, &topic);
    for topic in [&mentions, &letters] {
        text += &String::from_utf8_lossy(&crate::mentions::messages(topic, 1));
    }
    assert!(text.contains("mark.truncation") && text.contains("withheld"), "what was searched is there");
    nowhere(&text);
}

/// What a process says that panics on a message, with all of it in the panic's words.
fn panicked(node: &mut Node, topic: &str) -> String {
    let mut planter = Planter { next: PLANTED, at: now_us() };
    let message = planter.call().to_string().replace("\"surprise\"", "\"poisoned\"");
    produce(topic, [(0, planter.at, message.as_bytes())]);
    node.variables.push(("LEEWAY_TEST_FAULT".into(), "panic=poisoned".into()));
    let mut process = node.start();
    process.ended(60);
    let log = process.log();
    assert!(log.contains("panicked at") && log.contains("its words may hold a text"), "{log}");
    log
}

fn nowhere(text: &str) {
    let forms: Vec<(usize, String)> =
        (0..PLANTED + 100).flat_map(|n| forms(&canary(n)).into_iter().map(move |form| (n, form))).collect();
    let automaton =
        AhoCorasick::builder().ascii_case_insensitive(true).build(forms.iter().map(|(_, form)| form)).unwrap();
    // The search finds what is there.
    assert!(forms.iter().step_by(97).all(|(_, form)| automaton.is_match(&format!("x{form}y"))));
    let found: Vec<String> = automaton
        .find_iter(text)
        .take(20)
        .map(|hit| {
            let (n, form) = &forms[hit.pattern().as_usize()];
            let from = text.floor_char_boundary(hit.start().saturating_sub(120));
            let to = text.floor_char_boundary(hit.end() + 80);
            format!("{} as {form}: …{}…", canary(*n), &text[from..to])
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
