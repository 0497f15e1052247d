//! The state of one alert instance, stepped once per closed window: Prometheus' semantics of `for` and
//! `keep_firing_for`, with missing and scarce data as states of their own.

use leeway_core::alert::State;
use leeway_core::clock::Micros;

/// What one window says of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Breach,
    Clear,
    /// No events.
    NoData,
    /// Some, but fewer than the rule asks for.
    Insufficient,
}

/// The moving part of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instance {
    pub state: State,
    pub active_at: Option<Micros>,
    pub fired_at: Option<Micros>,
    pub resolved_at: Option<Micros>,
    pub keep_firing_since: Option<Micros>,
}

impl Default for Instance {
    fn default() -> Self {
        Self { state: State::Inactive, active_at: None, fired_at: None, resolved_at: None, keep_firing_since: None }
    }
}

/// The two durations of a rule.
#[derive(Debug, Clone, Copy)]
pub struct Holds {
    /// How long a condition must hold before it fires.
    pub hold: Micros,
    pub keep_firing: Micros,
}

/// Steps to the window that ends `at`. An incomplete window may fire, and never calms anything.
pub fn step(before: Instance, verdict: Verdict, at: Micros, complete: bool, holds: Holds) -> Instance {
    match verdict {
        Verdict::Breach => breach(before, at, holds),
        _ if !complete => before,
        Verdict::Clear => clear(before, at, holds),
        Verdict::NoData => missing(before, State::NoData),
        Verdict::Insufficient => missing(before, State::InsufficientData),
    }
}

fn breach(before: Instance, at: Micros, holds: Holds) -> Instance {
    let active_at = match before.state {
        State::Firing => return Instance { keep_firing_since: None, ..before },
        State::Pending => before.active_at.unwrap_or(at),
        _ => at,
    };
    let pending = Instance { state: State::Pending, active_at: Some(active_at), ..Instance::default() };
    if at - active_at >= holds.hold {
        return Instance { state: State::Firing, fired_at: Some(at), ..pending };
    }
    pending
}

fn clear(before: Instance, at: Micros, holds: Holds) -> Instance {
    match before.state {
        State::Firing => {
            let since = before.keep_firing_since.unwrap_or(at);
            if at - since >= holds.keep_firing {
                return Instance { state: State::Resolved, resolved_at: Some(at), keep_firing_since: None, ..before };
            }
            Instance { keep_firing_since: Some(since), ..before }
        }
        // A resolved instance stays visible as such until something else happens to it.
        State::Resolved => before,
        _ => Instance::default(),
    }
}

fn missing(before: Instance, state: State) -> Instance {
    match before.state {
        // Silence proves nothing: what fires goes on firing.
        State::Firing => before,
        _ => Instance { state, ..Instance::default() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Breach, Clear, Insufficient, NoData};
    use leeway_core::clock::MINUTE;

    fn run(verdicts: &[Verdict], hold: i64, keep: i64) -> Vec<State> {
        let mut instance = Instance::default();
        let holds = Holds { hold: hold * MINUTE, keep_firing: keep * MINUTE };
        let mut states = Vec::new();
        for (minute, verdict) in verdicts.iter().enumerate() {
            instance = step(instance, *verdict, minute as i64 * MINUTE, true, holds);
            states.push(instance.state);
        }
        states
    }

    #[test]
    fn for_and_keep_firing_for_follow_prometheus() {
        // promtool 2.42: `for 5m` from minute 3 fires at 8; clears at 13, keep_firing_for 10m: firing at 22, gone at 23.
        let verdicts: Vec<Verdict> = (0..24).map(|m| if (3..13).contains(&m) { Breach } else { Clear }).collect();
        let states = run(&verdicts, 5, 10);
        assert_eq!(
            (states[2], states[3], states[7], states[8]),
            (State::Inactive, State::Pending, State::Pending, State::Firing)
        );
        assert_eq!((states[22], states[23]), (State::Firing, State::Resolved));
    }

    #[test]
    fn one_calm_tick_drops_pending_and_a_new_breach_resets_keep_firing() {
        assert_eq!(run(&[Breach, Clear, Breach], 2, 0), [State::Pending, State::Inactive, State::Pending]);
        assert_eq!(run(&[Breach, Clear, Breach, Clear, Clear], 0, 2)[4], State::Firing);
        assert_eq!(run(&[Breach, Clear], 0, 0), [State::Firing, State::Resolved]);
    }

    #[test]
    fn missing_data_drops_pending_and_never_resolves() {
        assert_eq!(run(&[Breach, NoData], 5, 0)[1], State::NoData);
        assert_eq!(run(&[Breach, Insufficient], 5, 0)[1], State::InsufficientData);
        assert_eq!(run(&[Breach, NoData, Insufficient], 0, 0), [State::Firing; 3]);
    }

    #[test]
    fn an_incomplete_window_may_fire_and_never_resolves() {
        let holds = Holds { hold: 0, keep_firing: 0 };
        let fired = step(Instance::default(), Breach, 0, false, holds);
        assert_eq!(fired.state, State::Firing);
        for verdict in [Clear, NoData, Insufficient] {
            assert_eq!(step(fired, verdict, MINUTE, false, holds), fired);
        }
    }
}
