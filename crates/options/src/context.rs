//! Where a stack of layers stands in a model.

/// What a stack's order of layers and widths depend on, besides its own options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackContext {
    /// Width of the stack.
    pub dim: usize,
    /// Whether a context is attended to.
    pub cross_attend: bool,
    /// Whether there is no self attention.
    pub only_cross: bool,
}
