//! The whole-system tests live in the test binary `system`; this library is empty.
