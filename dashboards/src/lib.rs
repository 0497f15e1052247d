//! From summaries and findings to charts and pages; pure functions.
