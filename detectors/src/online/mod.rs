//! Detectors that read row by row and keep a state: nothing of what comes later is used.

pub mod anomaly;
pub mod column;
pub mod level;
pub mod outlook;
pub mod tail;

#[cfg(test)]
mod tests;
