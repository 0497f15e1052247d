//! Leeway: wires the steps, consumes Kafka, serves HTTP; one executable.

pub mod accumulate;
pub mod consume;
pub mod dead_letters;
pub mod deliver;
pub mod demo;
pub mod evaluate;
pub mod explain;
pub mod faults;
pub mod feedback;
pub mod flush;
pub mod loadgen;
pub mod mailbox;
pub mod metrics;
pub mod once;
pub mod periods;
pub mod pipeline;
pub mod produce;
pub mod report;
pub mod run;
pub mod settings;
pub mod tasks;
pub mod topic_id;
pub mod traffic;
pub mod watch;
pub mod web;
pub mod weekly;
