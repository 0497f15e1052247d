//! Numbers of one range in a byte or two each: a baseline has hundreds of them, and there is one for each stream.

/// Least and step of the range, and how many steps above it each number lies.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Codes<T> {
    least: f64,
    step: f64,
    codes: Box<[T]>,
}

/// In what steps are counted.
pub(super) trait Code: Copy + Into<f64> {
    const MOST: Self;
    fn of(steps: f64) -> Self;
}

impl Code for u8 {
    const MOST: Self = Self::MAX;
    fn of(steps: f64) -> Self {
        steps as Self
    }
}

impl Code for u16 {
    const MOST: Self = Self::MAX;
    fn of(steps: f64) -> Self {
        steps as Self
    }
}

/// Where a number between two steps goes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Round {
    Down,
    Nearest,
    Up,
}

impl<T: Code> Codes<T> {
    /// Of finite numbers.
    pub fn of(values: &[f64], round: Round) -> Self {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let step = (most - least) / T::MOST.into();
        let code = |value: &f64| {
            let steps = if step > 0.0 { (value - least) / step } else { 0.0 };
            match round {
                Round::Down => T::of(steps.floor()),
                Round::Nearest => T::of(steps.round()),
                Round::Up => T::of(steps.ceil()),
            }
        };
        Self { least, step, codes: values.iter().map(code).collect() }
    }

    pub fn get(&self, place: usize) -> f64 {
        self.least + self.step * self.codes[place].into()
    }

    pub fn step(&self) -> f64 {
        self.step
    }

    /// Bytes beside the struct's own.
    pub fn size(&self) -> usize {
        size_of_val(&self.codes[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_within_a_step_and_on_the_side_that_was_asked_for() {
        let values: Vec<f64> = (0..168).map(|i| (f64::from(i) * 0.7).sin() * 3.0 + 5.0).collect();
        let [down, near, up] = [Round::Down, Round::Nearest, Round::Up].map(|round| Codes::<u16>::of(&values, round));
        let step = near.step();
        assert!(step < 1e-4 && near.size() == 336);
        for (place, value) in values.iter().enumerate() {
            let rounding = 1e-12;
            assert!((-rounding..step + rounding).contains(&(value - down.get(place))));
            assert!((-rounding..step + rounding).contains(&(up.get(place) - value)));
            assert!((near.get(place) - value).abs() <= step / 2.0 + rounding);
        }
        let bytes = Codes::<u8>::of(&values, Round::Up);
        assert!(
            bytes.size() == 168 && values.iter().enumerate().all(|(place, value)| bytes.get(place) > value - 1e-12)
        );
        let alike = Codes::<u16>::of(&[0.1; 24], Round::Up);
        assert_eq!((alike.get(7), alike.step()), (0.1, 0.0));
        assert_eq!(Codes::<u8>::of(&[], Round::Up).size(), 0);
    }
}
