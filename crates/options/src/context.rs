//! Properties of the model that a stack of layers depends on.

/// What the layer order and the widths of a stack depend on, besides its own options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StackContext {
    /// Width of the stack.
    pub dim: usize,
    /// Whether there is cross attention to a context.
    pub cross_attend: bool,
    /// Whether there is no self attention.
    pub only_cross: bool,
    /// Width of the context.
    pub dim_context: usize,
}
