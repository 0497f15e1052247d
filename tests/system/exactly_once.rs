//! kill -9, aborts at named points, stopped processes, poison and recreated topics: no count changes.

use crate::harness::{Database, Node, admin, block, call, create_topic, now_us, produce, topic, wait_for};
use crate::traces::{chains_whole, database_ready};

const MINUTE: i64 = 60_000_000;

fn calls(prefix: &str, n: usize, start: i64) -> Vec<(i32, i64, String)> {
    (0..n)
        .map(|i| {
            (
                (i % 3) as i32,
                start + i as i64 * 10_000,
                call(&format!("{prefix}{i}"), start + i as i64 * 10_000, "a", 5.0),
            )
        })
        .collect()
}

fn write(topic: &str, calls: &[(i32, i64, String)]) {
    produce(topic, calls.iter().map(|(partition, at, text)| (*partition, *at, text.as_bytes())));
}

fn counted(database: &Database) -> Result<i64, String> {
    let rows = database.query("SELECT COALESCE(sum(n), 0) FROM pane_delta d JOIN series s ON s.tenant = d.tenant AND s.series_id = d.series_id WHERE s.level = 'leaf'")?;
    rows[0][0].parse().map_err(|_| rows[0][0].clone())
}

#[test]
fn kill_nine_at_any_point_changes_no_count() {
    let (database, topic) = (Database::new(), topic(3));
    let mut node = Node::new(&database, &topic);
    node.extra = "[kafka.options]\n".into();
    let start = now_us() - 10 * MINUTE;
    let mut expected = 0;
    for round in 0..8usize {
        // Kills at named points, and kills whenever.
        node.variables = match round % 4 {
            0 => vec![("LEEWAY_TEST_FAULT".into(), "after_commit=abort".into())],
            1 => vec![("LEEWAY_TEST_FAULT".into(), "before_commit=abort".into())],
            _ => Vec::new(),
        };
        let batch = calls(&format!("r{round}-"), 3000, start + round as i64 * MINUTE);
        expected += batch.len() as i64;
        write(&topic, &batch);
        let mut process = node.start();
        if round % 4 < 2 {
            process.ended(30);
        } else {
            database_ready(&database);
            std::thread::sleep(std::time::Duration::from_millis(300 + 170 * round as u64));
            process.kill();
        }
    }
    node.variables.clear();
    let mut process = node.start();
    wait_for("all calls", 60, || {
        counted(&database).and_then(|n| if n == expected { Ok(()) } else { Err(format!("{n} of {expected}")) })
    });
    chains_whole(&database);
    // Everything may be counted before this process has begun: a stop is graceful once somebody listens to it.
    wait_for(
        "a process that runs",
        30,
        || if process.log().contains("pages at") { Ok(()) } else { Err(process.log()) },
    );
    assert!(process.interrupt(), "a graceful stop ends well");
    assert_eq!(counted(&database), Ok(expected));
    assert_eq!(
        database.number("SELECT count(*) FROM source_partition WHERE attempts <> 0"),
        0,
        "a graceful stop clears the breaker"
    );
}

#[test]
fn a_consumer_whose_name_another_takes_goes_on_and_two_of_one_name_are_told() {
    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let (database, topic) = (Database::new(), topic(3));
    let node = Node::new(&database, &topic);
    let start = now_us() - 10 * MINUTE;
    let mut process = node.start();
    let mut expected = 0;
    let mut read = |name: &str| {
        let batch = calls(name, 600, start);
        expected += batch.len() as i64;
        write(&topic, &batch);
        wait_for("all calls", 60, || {
            counted(&database).and_then(|n| if n == expected { Ok(()) } else { Err(format!("{n} of {expected}")) })
        });
    };
    database_ready(&database);
    read("first-");
    let log = process.log();
    let instance = log.split("instance=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    let join = || {
        let impostor: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", crate::harness::kafka())
            .set("group.id", &topic)
            .set("group.instance.id", &instance)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", "3000")
            .create()
            .unwrap();
        impostor.subscribe(&[&topic]).unwrap();
        wait_for("the impostor's share", 30, || {
            let _ = impostor.poll(std::time::Duration::from_millis(100));
            let fenced = impostor.client().fatal_error().is_some();
            let joined = impostor.assignment().map_err(|error| error.to_string())?.count() > 0;
            if joined || fenced { Ok(()) } else { Err("nothing".to_owned()) }
        });
    };
    join();
    wait_for("a new consumer", 30, || {
        if process.log().contains("under this one's name") { Ok(()) } else { Err(process.tail(5)) }
    });
    read("second-");
    chains_whole(&database);
    // Again and again is no accident. The two may fence each other by turns.
    for _ in 0..30 {
        if process.running() {
            join();
            std::thread::sleep(std::time::Duration::from_millis(1_500));
        }
    }
    assert!(!process.ended(10).success());
    assert!(process.log().contains("delete the file in one of the copies"), "{}", process.tail(20));
}

#[test]
fn a_stopped_process_is_replaced_and_fenced() {
    let (database, topic) = (Database::new(), topic(3));
    let start = now_us() - 10 * MINUTE;
    let (first, second) = (Node::new(&database, &topic), Node::new(&database, &topic));
    let zombie = first.start();
    write(&topic, &calls("a", 3000, start));
    database_ready(&database);
    wait_for("the first calls", 30, || {
        counted(&database).and_then(|n| if n > 0 { Ok(()) } else { Err(n.to_string()) })
    });
    zombie.signal(libc::SIGSTOP);
    write(&topic, &calls("b", 3000, start + MINUTE));
    let _successor = second.start();
    wait_for("the successor", 60, || {
        counted(&database).and_then(|n| if n == 6000 { Ok(()) } else { Err(n.to_string()) })
    });
    zombie.signal(libc::SIGCONT);
    write(&topic, &calls("c", 3000, start + 2 * MINUTE));
    wait_for("all calls", 60, || counted(&database).and_then(|n| if n == 9000 { Ok(()) } else { Err(n.to_string()) }));
    chains_whole(&database);
}

#[test]
fn a_message_that_kills_the_process_is_quarantined() {
    let (database, topic) = (Database::new(), topic(3));
    let start = now_us() - 10 * MINUTE;
    // Far behind the first offset, so that it is found by spans and not only one by one.
    let mut batch = calls("a", 3000, start);
    batch[2400].2 = batch[2400].2.replace("\"acme\"", "\"BOOM\"");
    write(&topic, &batch);
    let mut node = Node::new(&database, &topic);
    node.variables = vec![("LEEWAY_TEST_FAULT".into(), "message=BOOM".into())];
    let mut restarts = 0;
    let _process = loop {
        let mut process = node.start();
        database_ready(&database);
        let done = wait_for("an end or all calls", 30, || match (process.running(), counted(&database)) {
            (false, _) => Ok(false),
            (true, Ok(2999)) if database.number("SELECT count(*) FROM dead_letter") == 1 => Ok(true),
            (_, seen) => Err(format!("{seen:?}")),
        });
        if done {
            break process;
        }
        restarts += 1;
        assert!(restarts < 12, "the poison was not quarantined");
    };
    let letter = database.query("SELECT reason, part, source_offset FROM dead_letter").unwrap();
    assert_eq!(letter, [["quarantined", "0", "800"]]);
    assert!(restarts >= 5, "{restarts} restarts");
    chains_whole(&database);
}

#[test]
fn deaths_in_flushes_are_no_message_s_fault() {
    let (database, topic) = (Database::new(), topic(3));
    write(&topic, &calls("a", 600, now_us() - 10 * MINUTE));
    let mut node = Node::new(&database, &topic);
    node.variables = vec![("LEEWAY_TEST_FAULT".into(), "before_commit=abort".into())];
    for life in 0..10 {
        node.start().ended(60);
        if life == 0 {
            // A disk so slow that a partition is between two marks for most of the time.
            let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
                        'BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END'";
            database.query(slow).unwrap();
            let each = "CREATE TRIGGER slow BEFORE UPDATE OF marker ON source_partition FOR EACH ROW \
                        WHEN (NEW.marker IS NULL AND OLD.marker IS NOT NULL) EXECUTE FUNCTION slow()";
            database.query(each).unwrap();
        }
    }
    node.variables.clear();
    let _process = node.start();
    wait_for("all calls", 60, || {
        counted(&database).and_then(|n| if n == 600 { Ok(()) } else { Err(format!("{n} of 600")) })
    });
    assert_eq!(database.number("SELECT count(*) FROM dead_letter"), 0);
}

#[test]
fn a_recreated_topic_is_read_from_its_beginning() {
    let (database, topic) = (Database::new(), topic(3));
    let start = now_us() - 10 * MINUTE;
    let node = Node::new(&database, &topic);
    write(&topic, &calls("a", 300, start));
    let mut process = node.start();
    database_ready(&database);
    wait_for("the first life", 30, || {
        counted(&database).and_then(|n| if n == 300 { Ok(()) } else { Err(n.to_string()) })
    });
    process.kill();
    let deleted = block(admin().delete_topics(&[&topic], &rdkafka::admin::AdminOptions::new())).unwrap();
    deleted.into_iter().for_each(|result| drop(result.unwrap()));
    create_topic(&topic, 3);
    // More than the first life held: by offset alone nothing would look wrong, and 300 would be lost.
    write(&topic, &calls("b", 900, start + MINUTE));
    let _process = node.start();
    wait_for("both lives", 60, || counted(&database).and_then(|n| if n == 1200 { Ok(()) } else { Err(n.to_string()) }));
    assert_eq!(database.number("SELECT count(DISTINCT incarnation) FROM source_partition"), 2);
}

/// A client may get nothing of a topic's new life, and no error either.
#[test]
fn a_silent_client_of_a_recreated_topic_is_replaced() {
    let (database, topic) = (Database::new(), topic(3));
    let mut node = Node::new(&database, &topic);
    node.variables = vec![("LEEWAY_TEST_FAULT".into(), "fetch=starve".into())];
    let process = node.start();
    database_ready(&database);
    database.wait_number("owners", 30, "SELECT count(*) FROM source_partition WHERE owner <> ''", 3);
    let deleted = block(admin().delete_topics(&[&topic], &rdkafka::admin::AdminOptions::new())).unwrap();
    deleted.into_iter().for_each(|result| drop(result.unwrap()));
    create_topic(&topic, 3);
    write(&topic, &calls("b", 300, now_us() - 10 * MINUTE));
    // A rebalance in between may leave it to the watchdog, which waits for thirty seconds of silence.
    wait_for("the new life", 80, || {
        counted(&database).and_then(|n| if n == 300 { Ok(()) } else { Err(n.to_string()) })
    });
    assert!(process.log().contains("the topic was created anew"), "{}", process.log());
}

#[test]
fn a_wider_topic_finds_owners_for_its_new_partitions() {
    let (database, topic) = (Database::new(), topic(3));
    let start = now_us() - 10 * MINUTE;
    let node = Node::new(&database, &topic);
    write(&topic, &calls("a", 300, start));
    let _process = node.start();
    database_ready(&database);
    wait_for("the first calls", 30, || {
        counted(&database).and_then(|n| if n == 300 { Ok(()) } else { Err(n.to_string()) })
    });
    let wider = rdkafka::admin::NewPartitions::new(&topic, 5);
    block(admin().create_partitions(&[wider], &rdkafka::admin::AdminOptions::new()))
        .unwrap()
        .into_iter()
        .for_each(|result| drop(result.unwrap()));
    let more: Vec<_> = calls("b", 200, start + MINUTE)
        .into_iter()
        .enumerate()
        .map(|(i, (_, at, text))| (3 + (i % 2) as i32, at, text))
        .collect();
    wait_for("the new partitions", 20, || {
        let probe: rdkafka::consumer::BaseConsumer =
            rdkafka::config::ClientConfig::new().set("bootstrap.servers", crate::harness::kafka()).create().unwrap();
        let metadata =
            rdkafka::consumer::Consumer::fetch_metadata(&probe, Some(&topic), std::time::Duration::from_secs(5))
                .map_err(|e| e.to_string())?;
        let n = metadata.topics()[0].partitions().len();
        if n == 5 { Ok(()) } else { Err(n.to_string()) }
    });
    write(&topic, &more);
    wait_for("calls of the new partitions", 60, || {
        counted(&database).and_then(|n| if n == 500 { Ok(()) } else { Err(n.to_string()) })
    });
}

#[test]
fn a_consumer_that_gets_nothing_is_replaced() {
    let (database, topic) = (Database::new(), topic(3));
    write(&topic, &calls("a", 300, now_us() - 10 * MINUTE));
    let mut node = Node::new(&database, &topic);
    node.variables = vec![("LEEWAY_TEST_FAULT".into(), "fetch=starve".into())];
    let process = node.start();
    database_ready(&database);
    wait_for("the watchdog", 90, || match counted(&database) {
        Ok(300) => Ok(()),
        seen => Err(format!("{seen:?}")),
    });
    assert!(process.log().contains("a partition with unread messages gets none"), "{}", process.log());
    chains_whole(&database);
}
