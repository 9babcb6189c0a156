//! The storage formats.

/// Number of weights that share a scale.
pub(super) const BLOCK: usize = 32;

/// Storage formats of quantised weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// 8 bits per weight and an f16 scale per block. The weight of largest magnitude in a block is
    /// stored as ±127.
    Q8_0,
    /// 4 bits per weight and an f16 scale per block. The weight of largest magnitude in a block is
    /// stored as -8.
    Q4_0,
    /// bfloat16, the upper half of an f32.
    Bf16,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 3] = [Format::Q8_0, Format::Q4_0, Format::Bf16];

    /// The name of the format, as ggml spells it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Q8_0 => "q8_0",
            Format::Q4_0 => "q4_0",
            Format::Bf16 => "bf16",
        }
    }

    /// Whether the format supports rows of `width` weights: the block formats need whole blocks.
    pub fn supports_width(self, width: usize) -> bool {
        width > 0 && (self == Format::Bf16 || width.is_multiple_of(BLOCK))
    }

    /// The size in bytes of `count` weights, which must be whole blocks.
    pub fn bytes(self, count: usize) -> usize {
        match self {
            Format::Q8_0 => count + count / BLOCK * 2,
            Format::Q4_0 => count / 2 + count / BLOCK * 2,
            Format::Bf16 => 2 * count,
        }
    }
}
