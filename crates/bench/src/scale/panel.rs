//! Where the values of one metric lie in its panel: users on a logarithmic axis, values on a linear one from zero.

/// Width and height of the plotted area.
pub(super) const WIDTH: f64 = 300.0;
pub(super) const HEIGHT: f64 = 150.0;
/// At most as many values are labelled.
const MAX_TICKS: f64 = 5.0;

pub(super) struct Panel {
    lowest_power: i32,
    highest_power: i32,
    /// Between labelled values.
    step: f64,
    top: f64,
}

impl Panel {
    /// A panel that has room for these numbers of users and these values.
    pub(super) fn of(users: impl Iterator<Item = f64> + Clone, values: impl Iterator<Item = f64>) -> Self {
        let lowest = users.clone().fold(f64::INFINITY, f64::min).log10().floor();
        let highest = users.fold(1.0, f64::max).log10().ceil();
        let power = |exponent: f64| (-300..300).find(|power| f64::from(*power) >= exponent).unwrap_or(0);
        let step = tick_step(values.fold(0.0, f64::max));
        let lowest_power = power(lowest);
        Self { lowest_power, highest_power: power(highest).max(lowest_power + 1), step: step.0, top: step.1 }
    }

    pub(super) fn x(&self, users: f64) -> f64 {
        let (low, high) = (f64::from(self.lowest_power), f64::from(self.highest_power));
        (users.log10() - low) / (high - low) * WIDTH
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        HEIGHT - value / self.top * HEIGHT
    }

    /// The labelled numbers of users.
    pub(super) fn powers(&self) -> impl Iterator<Item = f64> {
        (self.lowest_power..=self.highest_power).map(|power| 10_f64.powi(power))
    }

    /// The labelled values.
    pub(super) fn ticks(&self) -> impl Iterator<Item = f64> {
        let count = (self.top / self.step).round();
        (0..=10_u32).map(f64::from).take_while(move |index| *index <= count).map(|index| index * self.step)
    }
}

/// A step of 1, 2 or 5 times a power of ten, and the multiple of it that is not below the value.
fn tick_step(largest: f64) -> (f64, f64) {
    let largest = if largest > 0.0 { largest } else { 1.0 };
    let power = 10_f64.powf((largest / MAX_TICKS).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let step = step.into_iter().find(|step| largest / step <= MAX_TICKS).unwrap_or(largest);
    (step, (largest / step).ceil() * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        for (largest, expected) in [(1.0, (0.2, 1.0)), (33_321.0, (10_000.0, 40_000.0)), (7.1, (2.0, 8.0))] {
            assert_eq!(tick_step(largest), expected, "{largest}");
        }
        let panel = Panel::of([1000.0, 1e6].into_iter(), [33_321.0].into_iter());
        assert_eq!(panel.powers().collect::<Vec<_>>(), [1e3, 1e4, 1e5, 1e6]);
        assert_eq!(panel.ticks().count(), 5);
        assert!((panel.x(1e6) - WIDTH).abs() < 1e-9 && (panel.y(0.0) - HEIGHT).abs() < 1e-9);
    }
}
