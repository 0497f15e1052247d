//! Every check on panes and texts: pure functions.
