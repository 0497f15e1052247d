//! Special functions, from statrs.

/// Γ(x).
pub fn gamma(x: f64) -> f64 {
    statrs::function::gamma::gamma(x)
}

/// P(Z > z) of the standard normal law.
pub fn normal_tail(z: f64) -> f64 {
    0.5 * statrs::function::erf::erfc(z / std::f64::consts::SQRT_2)
}
