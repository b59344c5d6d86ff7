//! How many probe answers in a row change an endpoint's verdict.

/// Counts probe answers in a row. Pure: it neither probes nor waits.
///
/// A healthy endpoint turns down after `fall` failures in a row, an unhealthy one up after `rise` successes in a row;
/// an answer that agrees with the verdict begins the count anew.
#[derive(Debug)]
pub struct Threshold {
    rise: u32,
    fall: u32,
    healthy: bool,
    /// Answers in a row against the verdict.
    against: u32,
}

/// A verdict that has just changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Unfit until now; may get requests again.
    Up,
    /// Fit until now; gets no more requests.
    Down,
}

// === impl Threshold ===

impl Threshold {
    /// Begins from `healthy`, the verdict that stands: true for an endpoint never seen before (a gateway that starts
    /// must not answer 503 until its first probes are back), or what the probes before a reload found.
    pub fn new(rise: u32, fall: u32, healthy: bool) -> Self {
        Self { rise, fall, healthy, against: 0 }
    }

    /// Takes the next answer; returns the new verdict if this answer changed it.
    pub fn observe(&mut self, ok: bool) -> Option<Change> {
        if ok == self.healthy {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        if self.against < if ok { self.rise } else { self.fall } {
            return None;
        }
        self.healthy = ok;
        self.against = 0;
        Some(if ok { Change::Up } else { Change::Down })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter an answer (`+` passed, `-` failed); the result has one letter an answer too: U, D, or `.`.
    fn verdicts(mut threshold: Threshold, answers: &str) -> String {
        let letter = |change| match change {
            None => '.',
            Some(Change::Up) => 'U',
            Some(Change::Down) => 'D',
        };
        answers.chars().map(|answer| letter(threshold.observe(answer == '+'))).collect()
    }

    #[test]
    fn answers_in_a_row_change_the_verdict_and_nothing_less_does() {
        for (rise, fall, healthy, answers, expected) in [
            (2, 3, true, "++++", "...."),
            (2, 3, true, "---", "..D"),
            (2, 3, true, "--+--+---", "........D"),
            (2, 3, true, "-----", "..D.."),
            (2, 3, true, "---+-++", "..D...U"),
            (2, 3, true, "---++---++", "..D.U..D.U"),
            (1, 1, true, "-+-+", "DUDU"),
            (2, 3, false, "++", ".U"),
            (2, 3, false, "---+-+", "......"),
            // 0 is not accepted by the configuration; it behaves as 1 rather than as never.
            (0, 0, true, "-+", "DU"),
        ] {
            let threshold = Threshold::new(rise, fall, healthy);
            assert_eq!(verdicts(threshold, answers), expected, "rise {rise} fall {fall} {healthy} {answers}");
        }
    }
}
