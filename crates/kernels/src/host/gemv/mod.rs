//! Products of a few rows with many: what a step of a generation does.

pub(crate) mod kernel;
pub(crate) mod layers;
