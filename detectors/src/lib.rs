//! Every check on panes and texts: pure functions.

pub mod threshold;
