//! The whole system: real Kafka, real Postgres, a real mail server, a real browser. `scripts/test.sh` starts them.

mod alerts;
mod architecture;
mod bad_input;
mod conformance;
mod demo;
mod exactly_once;
mod files;
mod harness;
mod traces;
