//! The settings of the loss.

/// Which targets count, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropy {
    /// Targets with this value are left out.
    pub ignore_index: i64,
    /// The share of the probability that is spread over all classes, from 0 to 1.
    pub label_smoothing: f64,
}

impl CrossEntropy {
    /// Without label smoothing.
    pub fn ignoring(ignore_index: i64) -> Self {
        Self { ignore_index, label_smoothing: 0.0 }
    }

    /// The probabilities of the target class beyond the others, and of each class.
    pub(crate) fn shares(self, classes: usize) -> (f64, f64) {
        (1.0 - self.label_smoothing, self.label_smoothing / classes.max(1) as f64)
    }
}
