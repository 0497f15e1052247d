//! The whole system: real Kafka, real Postgres, a real mail server, a real browser. `scripts/test.sh` starts them.

#[cfg(test)]
mod alerts;
#[cfg(test)]
mod anomaly;
#[cfg(test)]
mod architecture;
#[cfg(test)]
mod backtest;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod canaries;
#[cfg(test)]
mod collector;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod drift;
mod embeddings;
#[cfg(test)]
mod envelopes;
#[cfg(test)]
mod exactly_once;
#[cfg(test)]
mod explain;
#[cfg(test)]
mod fault_run;
#[cfg(test)]
mod figures;
#[cfg(test)]
mod files;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod intake;
#[cfg(test)]
mod mentions;
#[cfg(test)]
mod moved;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod retention;
#[cfg(test)]
mod scale;
#[cfg(test)]
mod scan;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod traces;
#[cfg(test)]
mod words;
