//! Every check on panes and texts: pure functions.

pub mod scan;
pub mod threshold;
