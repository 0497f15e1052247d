//! From decoded events to a partition's buffer: compact contributions, or the aggregate itself where the call index
//! is off. Nothing here blocks, locks, or keeps text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use leeway_core::call_key::CallKey;
use leeway_core::clock::{DAY, MINUTE, Micros, SECOND, minute_of};
use leeway_core::event::{Call, Event, Part, Record, RecordKind, Reject};
use leeway_core::labels::{Dimensions, Labels, Level};
use leeway_core::ledger::Ledger;
use leeway_core::pane::{Beside, Numbers, Pane};
use leeway_core::policy::Policy;
use leeway_core::price::PriceBook;
use leeway_core::scan::{Hits, Mention, Origin as From, Scanned};
use leeway_core::words::Places;
use leeway_detectors::scan::{Scanner, held_beside, quality};
use leeway_formats::{Sink, UserKey};
use sha2::{Digest, Sha256};

use crate::mentions::{Found, Told};
use crate::relabel::Relabel;
use crate::settings::CallIndex;
use crate::withhold;

/// Older events are dead letters.
const OLDEST: Micros = 30 * DAY;
/// Events further ahead of their arrival are dead letters.
const FURTHEST: Micros = 10 * MINUTE;
/// An event is late when it arrives this long after its window's end.
pub const LATENESS: Micros = 30 * SECOND;

/// What every thread needs to know to aggregate.
#[derive(Debug, Clone)]
pub struct Rules {
    pub dimensions: Dimensions,
    pub relabel: Relabel,
    pub prices: PriceBook,
    pub call_index: CallIndex,
    pub index_days: i64,
    pub scanner: Scanner,
    pub policy: Policy,
    /// Content-free: what of a label, a name or a record holds a value is withheld, and ids are hashed under this key.
    pub withhold: Option<UserKey>,
    /// Inline scores whose values are summed, with their range in millionths.
    pub scores: BTreeMap<String, (i64, i64)>,
}

/// One call that waits for the call index.
#[derive(Debug)]
pub struct Contribution {
    /// Names the call.
    pub name: CallKey,
    /// Names it too, where the numbers agree.
    pub copy_name: Option<CallKey>,
    /// The span around it.
    pub parent: Option<CallKey>,
    /// Feedback may find it by these too.
    pub aliases: Vec<CallKey>,
    pub digest: i64,
    /// Of what other telemetry of the same response tells too: how it ended, tokens in and out.
    pub copy_digest: i64,
    pub series: u32,
    pub minute: Micros,
    /// Minute received, for the ledger.
    pub received: Micros,
    pub numbers: Numbers,
}

/// A dead letter of this buffer's partition.
#[derive(Debug)]
pub struct Letter {
    pub offset: i64,
    pub record: u32,
    /// Nothing of the message was taken.
    pub whole: bool,
    pub reason: &'static str,
    pub field: &'static str,
    pub bytes: usize,
    pub received_at: Micros,
}

/// What a call held that no index names.
#[derive(Debug)]
pub struct Loose {
    /// Of the record: its partition is the buffer's.
    pub offset: i64,
    pub record: u32,
    pub series: u32,
    pub minute: Micros,
    pub user: u64,
    pub session: u64,
    pub mentions: Vec<Mention>,
}

/// The unflushed part of one partition.
#[derive(Debug, Default)]
pub struct Buffer {
    pub series: SeriesTable,
    pub panes: hashbrown::HashMap<(u32, Micros), Pane, FixedState>,
    pub contributions: Vec<Contribution>,
    pub ledger: BTreeMap<Micros, Ledger>,
    pub letters: Vec<Letter>,
    pub records: Vec<Record>,
    /// What calls held that no index names.
    pub loose: Vec<Loose>,
    /// Newest accepted event time; 0 = none.
    pub newest_at: Micros,
    bytes: usize,
}

/// Where a message came from, and when.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    pub offset: i64,
    pub bytes: usize,
    /// min(message timestamp, this worker's clock).
    pub received: Micros,
    /// Topic and partition, for the ids of calls that have none of their own.
    pub partition: i32,
    /// Place in its message.
    pub record: u32,
}

impl Buffer {
    /// Estimated memory, for the flush's bound.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn empty(&self) -> bool {
        self.ledger.is_empty()
    }

    pub fn minute(&mut self, received: Micros) -> &mut Ledger {
        self.ledger.entry(minute_of(received)).or_default()
    }

    /// A message that is no message of its format.
    pub fn undecodable(&mut self, origin: Origin, reason: &Reject) {
        let ledger = self.minute(origin.received);
        ledger.consumed += 1;
        ledger.undecodable += 1;
        self.letter(origin, 0, true, reason);
    }

    pub fn decoded(&mut self, origin: Origin) {
        let ledger = self.minute(origin.received);
        ledger.consumed += 1;
        ledger.decoded += 1;
    }

    fn letter(&mut self, origin: Origin, record: u32, whole: bool, reason: &Reject) {
        self.bytes += size_of::<Letter>();
        self.letters.push(Letter {
            offset: origin.offset,
            record,
            whole,
            reason: reason.code(),
            field: reason.field(),
            bytes: origin.bytes,
            received_at: origin.received,
        });
    }

    fn reject(&mut self, origin: Origin, record: u32, reason: &Reject) {
        let ledger = self.minute(origin.received);
        ledger.seen += 1;
        if *reason == Reject::Future {
            ledger.future += 1;
        } else {
            ledger.dead_lettered += 1;
        }
        self.letter(origin, record, false, reason);
    }

    fn keep(&mut self, origin: Origin, mut record: Record, rules: &Rules) {
        // A change or an incident is of the app under which its calls are kept; of none where it is the whole tenant's.
        if !record.app.is_empty()
            && let Cow::Owned(app) = rules.relabel.of("app", &record.app)
        {
            record.app = app;
        }
        if let Some(key) = &rules.withhold {
            withhold::record(&mut record, key);
        }
        let ledger = self.minute(origin.received);
        ledger.seen += 1;
        ledger.kept += 1;
        self.bytes += size_of::<Record>() + record.body.len() + record.id.len() + 64;
        self.records.push(record);
    }

    pub fn call(&mut self, origin: Origin, call: &Call<'_>, rules: &Rules) {
        let minute = minute_of(call.time);
        let late = origin.received > minute + MINUTE + LATENESS;
        let computed = rules.prices.cost(call.provider, call.billed_model(), call.time, &call.tokens);
        let sums = |name: &str| rules.scores.contains_key(name);
        let mut numbers = Numbers::of(call, computed, late, sums);
        for (name, micro) in &mut numbers.scores {
            // A value outside the declared range is counted, and not summed.
            if let Some((low, high)) = rules.scores.get(&**name) {
                *micro = micro.filter(|value| (low..=high).contains(&value));
            }
        }
        // Here the texts end: what follows has counts alone.
        let series = self.series.find(call, rules, &mut self.bytes);
        self.scan(call, series, rules, &mut numbers);
        if rules.withhold.is_some() {
            withhold::names(&mut numbers);
        }
        // A producer with a fast clock must not close windows before their time.
        self.newest_at = self.newest_at.max(call.time.min(origin.received));
        let indexed = rules.call_index != CallIndex::Off && call.time >= origin.received - rules.index_days * DAY;
        let name = if indexed { call.name() } else { None };
        let ledger = self.minute(origin.received);
        ledger.seen += 1;
        let Some(name) = name else {
            // Nothing tells whether the span of a log record was counted: spans count then, log records do not.
            numbers.brings.call &= numbers.brings.timing || call.span_id.is_none();
            if numbers.brings.call {
                ledger.unindexed += u64::from(rules.call_index != CallIndex::Off);
                count_accepted(ledger, late);
            } else {
                ledger.merged += 1;
            }
            self.add(series, minute, &numbers);
            self.keep_loose(origin, series, minute, &mut numbers);
            return;
        };
        let (digest, copy_digest) = (digest(call, &numbers), copy_digest(call));
        let named = |key: CallKey| rules.withhold.as_ref().map_or(key, |secret| withhold::name(key, secret));
        let aliases: Vec<CallKey> = call.aliases().map(named).collect();
        let scanned = numbers.scanned.as_ref().map_or(0, |scanned| size(scanned));
        let beside = numbers.beside.as_ref().map_or(0, |beside| {
            size_of::<Beside>() + beside.hits.bytes() + beside.words.as_ref().map_or(0, Places::size) + 64
        });
        let embedding =
            numbers.embedding.as_ref().map_or(0, |embedding| size_of_val(&**embedding) + embedding.0.len() + 32);
        let keys = aliases.len() * size_of::<CallKey>();
        self.bytes += size_of::<Contribution>() + numbers.scores.len() * 48 + scanned + beside + keys + embedding;
        let received = minute_of(origin.received);
        self.contributions.push(Contribution {
            name: named(name),
            copy_name: call.copy_name().map(named),
            parent: call.parent_name().map(named),
            aliases,
            digest,
            copy_digest,
            series,
            minute,
            received,
            numbers,
        });
    }

    /// Here the texts end: what follows has counts alone.
    fn scan(&mut self, call: &Call<'_>, series: u32, rules: &Rules, numbers: &mut Numbers) {
        let (tenant, app) = (call.tenant, call.app);
        numbers.scanned = rules.scanner.scan(call).map(|mut scanned| {
            rules.policy.judge(tenant, app, &mut scanned);
            Box::new(scanned)
        });
        let mut beside = Beside { qualities: quality::beside(call), ..Beside::default() };
        beside.hits.merge(self.series.held(series));
        let mut words = call.texts.iter().filter(|text| text.part == Part::Telemetry).peekable();
        if words.peek().is_some() {
            let all: Vec<&str> = words.map(|text| &*text.text).collect();
            beside.hits.merge(&held_beside(&all.join("\n")));
        }
        beside.words = rules.scanner.failure(call);
        rules.policy.judge_beside(tenant, app, &mut beside);
        if let Some(moderated) = &mut numbers.moderated {
            beside.severe |= rules.policy.judge_labels(tenant, app, moderated);
        }
        // One call is severe once: with the call where this record brings it, else with its text.
        if let Some(scanned) = numbers.scanned.as_mut().filter(|_| call.brings.call) {
            beside.severe |= std::mem::take(&mut scanned.severe);
        }
        let told = beside.severe
            || !beside.qualities.is_empty()
            || beside.words.is_some()
            || beside.hits.of_origin(From::Telemetry) > 0;
        numbers.beside = told.then(|| Box::new(beside));
    }

    fn keep_loose(&mut self, origin: Origin, series: u32, minute: Micros, numbers: &mut Numbers) {
        let told = numbers.scanned.as_mut().filter(|scanned| numbers.brings.text && !scanned.mentions.is_empty());
        let Some(scanned) = told else { return };
        let mentions = std::mem::take(&mut scanned.mentions);
        let (user, session) = (scanned.user, scanned.session);
        self.bytes += size_of::<Loose>() + mentions.len() * size_of::<Mention>();
        self.loose.push(Loose {
            offset: origin.offset,
            record: origin.record,
            series,
            minute,
            user,
            session,
            mentions,
        });
    }

    /// Counts what was found out of a value of an earlier call.
    pub fn traced(&mut self, told: &Told, found: &Found, received: Micros) {
        self.newest_at = self.newest_at.max(told.at.min(received));
        if !found.any() {
            return;
        }
        let series = self.series.at(&told.key, &mut self.bytes);
        let pane = self.panes.entry((series, minute_of(told.at))).or_insert_with(|| {
            self.bytes += size_of::<Pane>() + 64;
            Pane::default()
        });
        found.add_to(told.mention.entity, &mut pane.hits);
    }

    /// Counts one call in its pane.
    pub fn add(&mut self, series: u32, minute: Micros, numbers: &Numbers) {
        let pane = self.panes.entry((series, minute)).or_insert_with(|| {
            self.bytes += size_of::<Pane>() + 32;
            Pane::default()
        });
        let texts = pane.size_of_texts();
        pane.add(numbers);
        self.bytes += pane.size_of_texts().saturating_sub(texts);
    }
}

/// Bytes of what a scan found.
fn size(scanned: &Scanned) -> usize {
    let places = scanned.words.iter().flat_map(|words| words.iter().flatten()).map(|places| places.size() + 48);
    let lists = scanned.qualities.len() * 16 + scanned.mentions.len() * size_of::<Mention>() + places.sum::<usize>();
    size_of::<Scanned>() + scanned.hits.bytes() + lists
}

pub fn count_accepted(ledger: &mut Ledger, late: bool) {
    if late {
        ledger.late += 1;
    } else {
        ledger.on_time += 1;
    }
}

/// Feeds a buffer from a decoder.
#[derive(Debug)]
pub struct Feed<'a> {
    pub buffer: &'a mut Buffer,
    pub origin: Origin,
    pub rules: &'a Rules,
}

impl Sink for Feed<'_> {
    fn record(&mut self, index: u32, decoded: Result<Event<'_>, Reject>) {
        let decoded = decoded.and_then(|event| in_time(event, self.origin.received));
        match decoded {
            Ok(Event::Call(call)) => {
                self.buffer.call(Origin { record: index, ..self.origin }, &call, self.rules);
            }
            Ok(Event::Record(record)) => self.buffer.keep(self.origin, record, self.rules),
            Err(reason) => self.buffer.reject(self.origin, index, &reason),
        }
    }

    fn skipped(&mut self, records: u32) {
        let ledger = self.buffer.minute(self.origin.received);
        ledger.seen += u64::from(records);
        ledger.skipped += u64::from(records);
    }

    fn unknown_fields(&mut self, fields: u32) {
        self.buffer.minute(self.origin.received).unknown_fields += u64::from(fields);
    }
}

/// Calls and feedback must lie near their arrival; changes may be planned, incidents told long after.
pub fn in_time(event: Event<'_>, received: Micros) -> Result<Event<'_>, Reject> {
    let time = match &event {
        Event::Call(call) => call.time,
        Event::Record(record) if record.kind == RecordKind::Feedback => record.time,
        Event::Record(_) => return Ok(event),
    };
    if time < received - OLDEST {
        return Err(Reject::TimeOutOfRange);
    }
    if time > received + FURTHEST { Err(Reject::Future) } else { Ok(event) }
}

/// What a second copy must agree with: status, tokens and cost; of a whole record time and timing too.
fn digest(call: &Call<'_>, numbers: &Numbers) -> i64 {
    let mut hash = Sha256::new();
    let whole = numbers.brings.whole;
    hash.update(if whole { call.time } else { 0 }.to_le_bytes());
    hash.update([numbers.status as u8]);
    let tokens = numbers.tokens.by_index();
    let timing = |value: Option<u64>| value.filter(|_| whole);
    let cost = numbers.reported_cost.map(i64::unsigned_abs);
    let rest = [timing(numbers.duration_us), timing(numbers.ttft_us), cost];
    for value in tokens.into_iter().chain(rest) {
        hash.update([u8::from(value.is_some())]);
        hash.update(value.unwrap_or(0).to_le_bytes());
    }
    first_eight(hash)
}

fn copy_digest(call: &Call<'_>) -> i64 {
    let mut hash = Sha256::new();
    hash.update([u8::from(call.status.failed())]);
    for count in [call.tokens.input, call.tokens.output] {
        hash.update([u8::from(count.is_some())]);
        hash.update(count.unwrap_or(0).to_le_bytes());
    }
    first_eight(hash)
}

fn first_eight(hash: Sha256) -> i64 {
    let bytes = hash.finalize();
    i64::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]])
}

/// Series seen by a buffer: key bytes in one arena, found by hash.
#[derive(Debug, Default)]
pub struct SeriesTable {
    arena: Vec<u8>,
    /// Where the key lies under which a series is found, and the one by which it goes on.
    spans: Vec<((u32, u32), (u32, u32))>,
    /// Values in its labels.
    held: Vec<Hits>,
    table: HashTable<u32>,
    scratch: Vec<u8>,
    hasher: FixedState,
}

impl SeriesTable {
    fn find(&mut self, call: &Call<'_>, rules: &Rules, bytes: &mut usize) -> u32 {
        let mut key = std::mem::take(&mut self.scratch);
        key.clear();
        let labels = rules.dimensions.names().iter().map(|name| call.dimension(name));
        write_key(&mut key, call, labels);
        let known = self.get(&key);
        let index = known.unwrap_or_else(|| {
            let mut held = Hits::default();
            // Whose calls they are is no secret of theirs.
            let labels: Vec<Cow<'_, str>> = rules
                .dimensions
                .names()
                .iter()
                .map(|name| {
                    let label = call.dimension(name);
                    let found = if name == "tenant" { Hits::default() } else { held_beside(label) };
                    held.merge(&found);
                    let kept = rules.relabel.of(name, label);
                    let told = rules.withhold.is_some() && name != "tenant" && withhold::tells(name, &kept);
                    if told { withhold::WITHHELD.into() } else { kept }
                })
                .collect();
            let mut shown = Vec::with_capacity(key.len());
            write_key(&mut shown, call, labels.iter().map(AsRef::as_ref));
            self.insert(&key, &shown, held, bytes)
        });
        self.scratch = key;
        index
    }

    /// The series of a key that was made elsewhere.
    pub fn at(&mut self, key: &[u8], bytes: &mut usize) -> u32 {
        self.get(key).unwrap_or_else(|| self.insert(key, key, Hits::default(), bytes))
    }

    fn get(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let is = |index: &u32| slice(&self.arena, self.spans[*index as usize].0) == key;
        self.table.find(hash, is).copied()
    }

    fn insert(&mut self, key: &[u8], shown: &[u8], held: Hits, bytes: &mut usize) -> u32 {
        let index = self.spans.len() as u32;
        let mut lay = |part: &[u8]| {
            let start = self.arena.len() as u32;
            self.arena.extend_from_slice(part);
            (start, self.arena.len() as u32)
        };
        let span = lay(key);
        self.spans.push((span, if shown == key { span } else { lay(shown) }));
        *bytes += self.arena.len() - span.0 as usize + 24 + size_of::<Hits>() + held.bytes();
        self.held.push(held);
        let hash = self.hasher.hash_one(key);
        let (arena, spans, hasher) = (&self.arena, &self.spans, &self.hasher);
        self.table.insert_unique(hash, index, |index| hasher.hash_one(slice(arena, spans[*index as usize].0)));
        index
    }

    /// Values in a series' labels.
    fn held(&self, index: u32) -> &Hits {
        &self.held[index as usize]
    }

    pub fn key(&self, index: u32) -> &[u8] {
        slice(&self.arena, self.spans[index as usize].1)
    }
}

fn slice(arena: &[u8], (start, end): (u32, u32)) -> &[u8] {
    &arena[start as usize..end as usize]
}

/// Operation, whether served, and the labels, each with its length.
fn write_key<'c>(key: &mut Vec<u8>, call: &Call<'_>, labels: impl Iterator<Item = &'c str>) {
    let mut part = |text: &str| {
        key.extend_from_slice(&(text.len() as u16).to_le_bytes());
        key.extend_from_slice(text.as_bytes());
    };
    part(call.operation);
    part(if call.served { "true" } else { "false" });
    labels.for_each(part);
}

/// The labels behind a series key.
pub fn labels_of(key: &[u8], dimensions: &Dimensions) -> Labels {
    let names = ["operation", "served"].into_iter().chain(dimensions.names().iter().map(String::as_str));
    let mut values = BTreeMap::new();
    let mut rest = key;
    for name in names {
        let Some((length, tail)) = rest.split_first_chunk::<2>() else { break };
        let (text, tail) = tail.split_at(usize::from(u16::from_le_bytes(*length)).min(tail.len()));
        values.insert(name.to_owned(), String::from_utf8_lossy(text).into_owned());
        rest = tail;
    }
    Labels { level: Level::Leaf, values }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leeway_formats::{Format, LeewayJson, Options, Scratch, UserKey};

    const T: Micros = 1_795_225_535_000_000;

    fn rules(call_index: CallIndex) -> Rules {
        let scores = BTreeMap::from([("grounded".to_owned(), (0, 1_000_000))]);
        Rules {
            dimensions: Dimensions::default(),
            relabel: Relabel::default(),
            prices: PriceBook::built_in().unwrap(),
            call_index,
            index_days: 7,
            scanner: Scanner { examine_every: 1, ..Scanner::default() },
            policy: Policy::default(),
            withhold: None,
            scores,
        }
    }

    fn feed(messages: &[&str], call_index: CallIndex) -> Buffer {
        feed_by(messages, &rules(call_index))
    }

    fn feed_by(messages: &[&str], rules: &Rules) -> Buffer {
        let mut buffer = Buffer::default();
        let options = Options::new(1 << 20, 64, UserKey::new([0; 32]));
        let mut scratch = Scratch::new(options);
        for (offset, message) in messages.iter().enumerate() {
            let origin = Origin { offset: offset as i64, bytes: message.len(), received: T, partition: 0, record: 0 };
            let mut sink = Feed { buffer: &mut buffer, origin, rules };
            match LeewayJson.decode(message.as_bytes(), &mut scratch, &mut sink) {
                Ok(()) => buffer.decoded(origin),
                Err(reason) => buffer.undecodable(origin, &reason),
            }
        }
        buffer
    }

    fn sum(buffer: &Buffer) -> Ledger {
        let mut sum = Ledger::default();
        buffer.ledger.values().for_each(|ledger| sum.merge(ledger));
        sum
    }

    #[test]
    fn every_record_has_one_place_in_the_ledger() {
        let messages = [
            r#"[{"time":1795225535},{"time":1795225400},{"time":1795226335},{"time":1792000000},{"no":"time"}]"#,
            "garbage",
            r#"{"time":1795225535,"kind":"change","type":"release"}"#,
        ];
        let buffer = feed(&messages, CallIndex::Off);
        let ledger = sum(&buffer);
        assert_eq!((ledger.consumed, ledger.decoded, ledger.undecodable), (3, 2, 1));
        assert_eq!((ledger.on_time, ledger.late, ledger.future, ledger.dead_lettered, ledger.kept), (1, 1, 1, 2, 1));
        assert!(ledger.balanced(), "{ledger:?}");
        let reasons: Vec<_> = buffer.letters.iter().map(|letter| letter.reason).collect();
        assert_eq!(reasons, ["time_out_of_range", "time_out_of_range", "no_time", "undecodable"]);
    }

    #[test]
    fn calls_wait_for_the_index_only_where_something_names_them() {
        let messages = [
            r#"{"time":1795225535,"id":"a"}"#,
            r#"{"time":1795225535}"#,
            r#"{"time":1795225535,"trace_id":"t","span_id":"s"}"#,
        ];
        let buffer = feed(&messages, CallIndex::On);
        assert_eq!((buffer.contributions.len(), buffer.panes.len(), sum(&buffer).unindexed), (2, 1, 1));
        assert_ne!(buffer.contributions[0].name, buffer.contributions[1].name);
        assert_eq!(feed(&messages, CallIndex::Off).contributions.len(), 0);
    }

    #[test]
    fn scores_outside_their_range_or_undeclared_are_counted_not_summed() {
        let message = r#"{"time":1795225535,"scores":[{"name":"grounded","value":true},{"name":"grounded","value":7},{"name":"other_one","value":3}]}"#;
        let buffer = feed(&[message], CallIndex::Off);
        let pane = buffer.panes.values().next().unwrap();
        assert_eq!((pane.scores()["grounded"].n, pane.scores()["grounded"].sum_micro), (2, 1_000_000));
        assert_eq!((pane.scores()["other_one"].n, pane.scores()["other_one"].sum_micro), (1, 0));
    }

    #[test]
    fn a_series_key_gives_its_labels_back() {
        let message = r#"{"time":1795225535,"tenant":"ünï","request_model":"gpt-4o","served":false}"#;
        let buffer = feed(&[message, message], CallIndex::Off);
        assert_eq!(buffer.panes.len(), 1);
        let labels = labels_of(buffer.series.key(0), &Dimensions::default());
        assert_eq!(
            (labels.tenant(), labels.get("model"), labels.get("served"), labels.get("route")),
            ("ünï", Some("gpt-4o"), Some("false"), Some(""))
        );
    }

    #[test]
    fn renamed_labels_make_one_series_of_many() {
        let row = |dimension: &str, regex: &str, replacement: &str| crate::relabel::Row {
            dimension: dimension.into(),
            regex: regex.into(),
            replacement: replacement.into(),
        };
        let rows = [row("route", "/users/.*", "/users/:id"), row("release", ".*", "")];
        let mut rules = rules(CallIndex::Off);
        rules.relabel = Relabel::new(&rows, &rules.dimensions).unwrap();
        let message = |n: usize| {
            format!(
                r#"{{"time":1795225535,"tenant":"t","route":"/users/{n}","release":"{n}","tokens":{{"input":{n}}}}}"#
            )
        };
        let messages: Vec<String> = (0..50).map(message).collect();
        let buffer = feed_by(&messages.iter().map(String::as_str).collect::<Vec<_>>(), &rules);
        let shown: std::collections::BTreeSet<Labels> =
            buffer.panes.keys().map(|(series, _)| labels_of(buffer.series.key(*series), &rules.dimensions)).collect();
        assert_eq!(shown.len(), 1);
        let labels = shown.first().unwrap();
        assert_eq!((labels.get("route"), labels.get("release")), (Some("/users/:id"), Some("")));
        assert_eq!(buffer.panes.values().map(Pane::calls).sum::<u64>(), 50);
    }

    #[test]
    fn records_are_of_the_app_as_it_is_kept_and_a_tenants_stay_the_tenants() {
        let row = |regex: &str, replacement: &str| crate::relabel::Row {
            dimension: "app".into(),
            regex: regex.into(),
            replacement: replacement.into(),
        };
        let mut rules = rules(CallIndex::Off);
        rules.relabel = Relabel::new(&[row("shop-.*", "shop"), row("", "none")], &rules.dimensions).unwrap();
        let change = |app: &str| format!(r#"{{"time":1795225535,"kind":"change","type":"release","app":"{app}"}}"#);
        let buffer = feed_by(&[&change("shop-7f9"), &change("")], &rules);
        let apps: Vec<&str> = buffer.records.iter().map(|record| record.app.as_str()).collect();
        assert_eq!(apps, ["shop", ""]);
    }

    #[test]
    fn small_active_series_take_less_than_4_kb() {
        let messages: Vec<String> = (0..2000)
            .map(|i| format!(r#"{{"time":1795225535,"tenant":"acme","app":"app-{i}","request_model":"gpt-4o","status":"ok","duration_ms":{i}.5,"ttft_ms":20,"tokens":{{"input":{i},"output":7}},"cost_usd":0.01}}"#))
            .collect();
        let buffer = feed(&messages.iter().map(String::as_str).collect::<Vec<_>>(), CallIndex::Off);
        let panes: usize = buffer.panes.values().map(|pane| pane.size() + 40).sum();
        let each = (panes + buffer.series.arena.capacity()) / 2000;
        assert!(each <= 4096, "{each} bytes");
        assert!(buffer.bytes() >= panes, "the bound counts {} of {panes} bytes", buffer.bytes());
    }
}
