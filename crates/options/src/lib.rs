//! Every option of x-transformers, declared once: name, type, default, and documentation with the
//! address of the paper.
//!
//! This crate does not use tensors. [`parse`] reads JSON into a struct and reports all problems at
//! once. `xtask` generates the TypeScript interfaces and the tables of docs/options.md from the
//! [`Spec`] of each struct. [`sets`] lists all structs by the name of their class or function.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod macros;

mod alibi;
pub mod attention;
pub mod autoregressive;
pub mod calls;
pub mod context;
pub mod feedforward;
pub mod generation;
pub mod heads;
pub mod images;
pub mod layers;
pub mod modules;
pub mod norms;
pub mod optimizers;
pub mod per_layer;
pub mod rotary;
pub mod rotary_scaling;
pub mod schedules;
pub mod sets;
pub mod stack;
pub mod wrappers;

mod choices;
mod elsewhere;
mod parse;
mod problem;
mod record;
mod spec;
#[cfg(test)]
mod tests;
mod types;

pub use choices::{
    AdjustLr, FfActivation, Filter, FilterChoice, ImagePool, LayerKind, NormPosition, RopeType,
    Schedule,
};
#[doc(hidden)]
pub use parse::field;
pub use parse::{parse, parse_and, Options};
pub use problem::{nearest, Problem, Problems};
pub use spec::{split_links, Elements, Field, Group, Named, Spec, ValueKind};
pub use types::{
    ByName, Classes, IdsRef, MaskRef, ModuleRef, NonNegative, OneOrMany, OptionType, Probability,
    Seed, TensorRef,
};
