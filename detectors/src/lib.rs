//! Every check on panes and texts: pure functions.

pub mod creep;
pub mod decompose;
pub mod drift;
#[cfg(test)]
mod golden;
pub mod maturity;
pub mod online;
pub mod scan;
pub mod stream;
pub mod threshold;
