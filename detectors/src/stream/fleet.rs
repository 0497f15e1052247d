//! One setting for the whole fleet: B false pages a week.
//!
//! A stream's evidence M less its number of blocks is a supermartingale under the null, and an alarm at M ≥ A uses A of it up. With T
//! blocks a week and weights w that sum to 1 or less, bars A = T/(B·w) leave B false pages a week in expectation, whatever the streams'
//! dependence on one another. A sudden incident need not wait for its block's end: a twentieth of the budget is for looks into open blocks. What is affected is then ranked by e-d-BH (Dandapanthula and Ramdas 2025, arXiv 2501.04130): e-BH (Wang and Ramdas 2022)
//! on the evidence of the moment, at the level α/T, so that the false discovery rate divided by the time waited stays below α a week.

/// The part of the budget that is for looks into open blocks.
const GLANCES: f64 = 0.05;

/// The evidence at which a stream with this share of the budget pages at a block's end, where open blocks are looked into so many times.
pub fn bar(blocks_a_week: f64, pages_a_week: f64, weight: f64, looks: usize) -> f64 {
    let part = if looks > 0 { 1.0 - GLANCES } else { 1.0 };
    blocks_a_week / (pages_a_week * weight * part)
}

/// The same in one of so many looks into an open block. Of counts what a block's beginning pays is a martingale within the block, so that looks
/// would cost nothing; of levels that vary from block to block it is none, and the looks share their part of the budget as if each were a chance
/// of its own. That part is no theorem there: simulation finds it ample.
pub fn glance_bar(blocks_a_week: f64, pages_a_week: f64, weight: f64, looks: usize) -> f64 {
    looks as f64 * blocks_a_week / (pages_a_week * weight * GLANCES)
}

/// The weight of one of a rule's streams: `of` is the rule's share of the budget, `streams` how many it has. The number counts
/// as the next power of two, so that bars move seldom.
pub fn weight(of: f64, streams: usize) -> f64 {
    of / streams.max(1).next_power_of_two() as f64
}

/// e-BH: the places of the hypotheses rejected at level `alpha`, the strongest first. FDR ≤ `alpha` under any dependence.
pub fn e_bh(evidence: &[f64], alpha: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..evidence.len()).collect();
    order.sort_by(|a, b| evidence[*b].total_cmp(&evidence[*a]));
    let all = evidence.len() as f64;
    let passes = |k: &usize| evidence[order[k - 1]] >= all / (alpha * *k as f64);
    let rejected = (1..=order.len()).rev().find(passes).unwrap_or(0);
    order.truncate(rejected);
    order
}

/// e-d-BH: which of all streams are affected now, the strongest first.
pub fn affected(evidence: &[f64], alpha: f64, blocks_a_week: f64) -> Vec<usize> {
    e_bh(evidence, alpha / blocks_a_week)
}
