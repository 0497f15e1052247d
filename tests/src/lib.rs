//! The whole system, scenario by scenario, and the arrows between crates.
