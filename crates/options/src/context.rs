//! Where a stack of layers stands in a model.

/// What a stack's order of layers and widths depend on, besides its own options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackContext {
    pub dim: usize,
    pub cross_attend: bool,
    pub only_cross: bool,
}
