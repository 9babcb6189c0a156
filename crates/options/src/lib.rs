//! Every option of x-transformers, declared once: name, type, default, documentation with the
//! paper's address.
//!
//! Nothing here knows tensors. [`parse`] turns JSON into a struct and tells every problem at once;
//! `xtask` writes the TypeScript interfaces and the table of docs/options.md from each struct's
//! [`Spec`]. [`sets`] has every struct by the name of its class or function.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod macros;

pub mod attention;
pub mod autoregressive;
pub mod calls;
pub mod context;
pub mod feedforward;
pub mod generation;
pub mod layers;
pub mod optimizers;
pub mod schedules;
pub mod sets;
pub mod stack;
pub mod wrappers;

mod choices;
mod elsewhere;
mod parse;
mod problem;
mod spec;
#[cfg(test)]
mod tests;
mod types;

pub use choices::{Filter, FilterChoice, LayerKind, Schedule};
#[doc(hidden)]
pub use parse::field;
pub use parse::{parse, parse_and, Options};
pub use problem::{nearest, Problem, Problems};
pub use spec::{split_links, Elements, Field, Group, Kind, Named, Spec};
pub use types::{
    Classes, IdsRef, MaskRef, ModuleRef, NonNegative, OneOrMany, OptionType, Probability, Seed,
    TensorRef,
};
