//! Options of a transformer over images.

use crate::types::size;
use crate::wrappers::EmbeddingNormOptions;
use crate::{options, Classes, ImagePool, ModuleRef, Probability, Problems};
use std::num::NonZeroUsize;

/// The classes allowed as `attn_layers` of a wrapper for images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EncoderLayers;

impl Classes for EncoderLayers {
    const NAMES: &'static [&'static str] = &["Encoder"];
}

options! {
    /// Options of a transformer over images. <https://arxiv.org/abs/2010.11929>
    pub struct ViTransformerWrapperOptions {
        /// Height and width of the largest image, in pixels; a multiple of `patch_size`.
        image_size: NonZeroUsize,
        /// Height and width of a patch, in pixels. Each patch becomes one position.
        patch_size: NonZeroUsize,
        /// The attention layers. The model shares their weights.
        attn_layers: ModuleRef<EncoderLayers>,
        /// Number of channels of the images.
        channels: NonZeroUsize = size(3),
        /// Number of classes of the head. Absent: no head; the output is what the head would read,
        /// see `pool`.
        num_classes: Option<NonZeroUsize> = None,
        /// Has no effect; accepted as in the Python package, where it has none either. Use
        /// `emb_dropout`.
        dropout: Probability = Probability(0.0),
        /// Dropout probability for the patch embeddings in training.
        emb_dropout: Probability = Probability(0.0),
        /// A learned class token in front of the patches, with the first of the position
        /// embeddings, as in the original. <https://arxiv.org/abs/2010.11929>
        use_cls_token: bool = false,
        /// What the head reads: `'mean'`, the mean over the patches, or `'cls'`, the class token of
        /// `use_cls_token`. <https://arxiv.org/abs/2205.01580>
        pool: ImagePool = ImagePool::Mean,
        /// LayerNorm before and after the projection of the patches.
        patch_norm: bool = true,
        /// Number of learned registers, which stand behind the patches, without positions, and are
        /// removed after the last layer. <https://arxiv.org/abs/2309.16588>
        num_register_tokens: usize = 0,
    }
    groups { "" norm: EmbeddingNormOptions, }
    checks conflicts
}

impl ViTransformerWrapperOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        let (image, patch) = (self.image_size.get(), self.patch_size.get());
        problems.require(
            image.is_multiple_of(patch),
            &format!("{prefix}image_size"),
            format!("{image} is not a multiple of `{prefix}patch_size` ({patch})"),
        );
        problems.require(
            self.pool == ImagePool::Mean || self.use_cls_token,
            &format!("{prefix}pool"),
            format!("needs `{prefix}use_cls_token` for 'cls'"),
        );
    }
}
