//! Every check on panes and texts: pure functions.

pub mod drift;
pub mod maturity;
pub mod online;
pub mod scan;
pub mod threshold;
