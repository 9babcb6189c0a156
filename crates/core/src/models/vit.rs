//! A transformer over the patches of an image.
//!
//! Source: An Image is Worth 16x16 Words, <https://arxiv.org/abs/2010.11929>; mean pooling:
//! <https://arxiv.org/abs/2205.01580>.

use crate::ids::dtype_name;
use crate::layers::{
    dropout, AttentionLayers, LastNorm, LayerNorm, LayerReturns, LayerTensors, Linear,
};
use crate::{Ctx, Entry, Error, Init, Mode, Param, Params, Result, Tensor};
use std::sync::Arc;
use xt_autograd::ops;
use xt_options::wrappers::ViTransformerWrapperOptions;

/// A transformer over the patches of an image, with an optional classification head.
pub struct ViTransformerWrapper {
    /// The position embedding, `(1, patches + 1, dim)`.
    pos_embedding: Param,
    /// Norm, projection `patch² · channels` to `dim`, norm.
    patch_to_embedding: (LayerNorm, Linear, LayerNorm),
    post_emb_norm: Option<LayerNorm>,
    layers: Arc<AttentionLayers>,
    norm: LastNorm,
    /// The classification head; absent without classes.
    mlp_head: Option<Linear>,
    emb_dropout: f64,
    /// Height and width of a patch, in pixels.
    patch: usize,
    channels: usize,
    /// The number of patches of the largest image.
    patches: usize,
    mode: Mode,
}

impl ViTransformerWrapper {
    /// Registers the parameters of the wrapper around `layers`, whose entries are `entries`.
    pub fn new(
        layers: Arc<AttentionLayers>,
        entries: &[Entry],
        options: &ViTransformerWrapperOptions,
        p: &mut Params,
    ) -> Self {
        let (dim, patch, channels) =
            (layers.dim(), options.patch_size.get(), options.channels.get());
        let side = options.image_size.get() / patch;
        let width = channels * patch * patch;
        let pos_embedding =
            p.add("pos_embedding", &[1, side * side + 1, dim], Init::Normal { std: 1.0 });
        let embedding = p.submodule("patch_to_embedding");
        let patch_to_embedding = (
            LayerNorm::new(width, &mut embedding.submodule("0")),
            Linear::new(width, dim, true, &mut embedding.submodule("1")),
            LayerNorm::new(dim, &mut embedding.submodule("2")),
        );
        let post_emb_norm = options
            .norm
            .post_emb_norm
            .then(|| layers.wrapper_norm(dim, &mut p.submodule("post_emb_norm")));
        p.submodule("attn_layers").include(entries);
        let norm = layers.last_norm(&mut p.submodule("norm"));
        let mlp_head = options
            .num_classes
            .map(|n| Linear::new(dim, n.get(), true, &mut p.submodule("mlp_head")));
        Self {
            pos_embedding,
            patch_to_embedding,
            post_emb_norm,
            layers,
            norm,
            mlp_head,
            emb_dropout: options.emb_dropout.0,
            patch,
            channels,
            patches: side * side,
            mode: Mode::default(),
        }
    }

    /// Training or evaluation mode of this wrapper; the layers have their own.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Classifies images: `(batch, channels, height, width)` to `(batch, num_classes)`. Without
    /// classes, returns the mean embedding, `(batch, dim)`. With `embeddings`, returns the
    /// embeddings of the patches, `(batch, patches, dim)`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the images do not fit; `Aborted` if the call is cancelled.
    pub fn forward(&self, image: &Tensor, embeddings: bool, ctx: &Ctx) -> Result<Tensor> {
        let ctx = &ctx.for_model(&self.mode);
        let (first, linear, second) = &self.patch_to_embedding;
        let patches = self.patches(image)?; // (batch, patches, patch² · channels)
        let mut x = second.forward(&linear.forward(&first.forward(&patches)?)?)?;
        x = ops::add(&x, &ops::narrow(&self.pos_embedding.tensor(), 1, 0, x.dim(1))?)?;
        if let Some(norm) = &self.post_emb_norm {
            x = norm.forward(&x)?;
        }
        x = dropout(&x, self.emb_dropout, ctx)?;
        let out =
            self.layers.forward(&x, &LayerTensors::default(), LayerReturns::default(), ctx)?;
        let x = self.norm.forward(&out.x)?;
        if embeddings {
            return Ok(x);
        }
        let pooled = ops::mean(&x, Some(&[1]), false)?; // (batch, dim)
        self.mlp_head.as_ref().map_or_else(|| Ok(pooled.clone()), |head| head.forward(&pooled))
    }

    /// Splits images into patches, row by row: `(batch, channels, height, width)` to
    /// `(batch, patches, patch² · channels)`. The features of a patch are in the order (row,
    /// column, channel).
    fn patches(&self, image: &Tensor) -> Result<Tensor> {
        let p = self.patch;
        let fits = image.rank() == 4
            && image.dim(1) == self.channels
            && image.dtype().is_float()
            && (2..4).all(|axis| image.dim(axis) > 0 && image.dim(axis).is_multiple_of(p))
            && (image.dim(2) / p) * (image.dim(3) / p) <= self.patches + 1;
        if !fits {
            return Error::shape(format!(
                "an image must be floating-point of shape (batch, {}, height, width), both multiples of {p} with at most {} patches, got {} of shape {:?}",
                self.channels,
                self.patches + 1,
                dtype_name(image),
                image.dims()
            ));
        }
        let (batch, rows, columns) = (image.dim(0), image.dim(2) / p, image.dim(3) / p);
        let split = ops::reshape(image, &[batch, self.channels, rows, p, columns, p])?;
        let ordered = ops::permute(&split, &[0, 2, 4, 3, 5, 1])?;
        Ok(ops::reshape(&ordered, &[batch, rows * columns, p * p * self.channels])?)
    }
}
