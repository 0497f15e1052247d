//! Special functions, from statrs.

/// Γ(x).
pub fn gamma(x: f64) -> f64 {
    statrs::function::gamma::gamma(x)
}
