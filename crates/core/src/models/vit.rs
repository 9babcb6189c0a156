//! A transformer over the patches of an image.
//!
//! Source: An Image is Worth 16x16 Words, <https://arxiv.org/abs/2010.11929>; mean pooling:
//! <https://arxiv.org/abs/2205.01580>; registers: Vision Transformers Need Registers,
//! <https://arxiv.org/abs/2309.16588>.

use crate::ids::dtype_name;
use crate::layers::{
    dropout, AttentionLayers, LastNorm, LayerNorm, LayerReturns, LayerTensors, Linear,
};
use crate::{Ctx, Entry, Error, Init, Mode, Param, Params, Result, Tensor};
use std::sync::Arc;
use xt_autograd::ops;
use xt_options::images::ViTransformerWrapperOptions;
use xt_options::ImagePool;

/// A transformer over the patches of an image, with an optional classification head.
pub struct ViTransformerWrapper {
    /// The position embedding, `(1, patches + 1, dim)`.
    pos_embedding: Param,
    patches: PatchEmbedding,
    /// The class token, `(1, 1, dim)`, which precedes the patches.
    cls_token: Option<Param>,
    /// The registers, `(count, dim)`, which follow the patches.
    registers: Option<Param>,
    post_emb_norm: Option<LayerNorm>,
    layers: Arc<AttentionLayers>,
    norm: LastNorm,
    /// The classification head; absent without classes.
    mlp_head: Option<Linear>,
    /// What the head reads.
    pool: ImagePool,
    emb_dropout: f64,
    mode: Mode,
}

/// The vectors of the patches of an image.
struct PatchEmbedding {
    /// The norms before and after the projection.
    norms: Option<[LayerNorm; 2]>,
    /// `patch² · channels` to `dim`.
    projection: Linear,
    /// Height and width of a patch, in pixels.
    size: usize,
    channels: usize,
    /// The number of patches of the largest image for which there are positions.
    most: usize,
}

impl ViTransformerWrapper {
    /// Registers the parameters of the wrapper around `layers`, whose entries are `entries`.
    pub fn new(
        layers: Arc<AttentionLayers>,
        entries: &[Entry],
        options: &ViTransformerWrapperOptions,
        p: &mut Params,
    ) -> Self {
        let dim = layers.dim();
        let side = options.image_size.get() / options.patch_size.get();
        let unit = Init::Normal { std: 1.0 };
        let pos_embedding = p.add("pos_embedding", &[1, side * side + 1, dim], unit.clone());
        let cls_token =
            options.use_cls_token.then(|| p.add("cls_token", &[1, 1, dim], unit.clone()));
        let registers = Some(options.num_register_tokens).filter(|count| *count > 0);
        let registers = registers.map(|count| p.add("register_tokens", &[count, dim], unit));
        // without a class token, one patch more has a position, as in Python
        let most = side * side + usize::from(!options.use_cls_token);
        let patches = PatchEmbedding::new(dim, options, most, p);
        let post_emb_norm = options
            .norm
            .post_emb_norm
            .then(|| layers.norm_of_width(dim, &mut p.submodule("post_emb_norm")));
        p.submodule("attn_layers").include(entries);
        let norm = layers.last_norm(&mut p.submodule("norm"));
        let mlp_head = options
            .num_classes
            .map(|n| Linear::new(dim, n.get(), true, &mut p.submodule("mlp_head")));
        Self {
            pos_embedding,
            patches,
            cls_token,
            registers,
            post_emb_norm,
            layers,
            norm,
            mlp_head,
            pool: options.pool,
            emb_dropout: options.emb_dropout.0,
            mode: Mode::default(),
        }
    }

    /// Training or evaluation mode of this wrapper; the layers have their own.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// Classifies images: `(batch, channels, height, width)` to `(batch, num_classes)`. Without
    /// classes, returns what the head would read, `(batch, dim)`. With `embeddings`, returns the
    /// embeddings of the patches, `(batch, patches, dim)`, with that of the class token in front.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the images do not fit; `Aborted` if the call is cancelled.
    pub fn forward(&self, image: &Tensor, embeddings: bool, ctx: &Ctx) -> Result<Tensor> {
        let ctx = &ctx.for_model(&self.mode);
        let mut x = self.patches.forward(image)?; // (batch, patches, dim)
        if let Some(token) = &self.cls_token {
            let token = ops::broadcast_to(&token.tensor(), &[x.dim(0), 1, x.dim(2)])?;
            x = ops::cat(&[&token, &x], 1)?;
        }
        let seen = x.dim(1);
        x = ops::add(&x, &ops::narrow(&self.pos_embedding.tensor(), 1, 0, x.dim(1))?)?;
        if let Some(norm) = &self.post_emb_norm {
            x = norm.forward(&x)?;
        }
        x = dropout(&x, self.emb_dropout, ctx)?;
        if let Some(registers) = &self.registers {
            let registers = registers.tensor();
            let dims = [x.dim(0), registers.dim(0), x.dim(2)];
            x = ops::cat(&[&x, &ops::broadcast_to(&registers, &dims)?], 1)?;
        }
        let out =
            self.layers.forward(&x, &LayerTensors::default(), LayerReturns::default(), ctx)?;
        // the registers are behind all others
        let x = ops::narrow(&self.norm.forward(&out.x)?, 1, 0, seen)?;
        if embeddings {
            return Ok(x);
        }
        let pooled = self.pooled(&x)?;
        self.mlp_head.as_ref().map_or_else(|| Ok(pooled.clone()), |head| head.forward(&pooled))
    }

    /// What the head reads of `x`, `(batch, n, dim)`: `(batch, dim)`.
    fn pooled(&self, x: &Tensor) -> Result<Tensor> {
        if self.pool == ImagePool::Class {
            return Ok(ops::reshape(&ops::narrow(x, 1, 0, 1)?, &[x.dim(0), x.dim(2)])?);
        }
        let front = usize::from(self.cls_token.is_some());
        Ok(ops::mean(&ops::narrow(x, 1, front, x.dim(1) - front)?, Some(&[1]), false)?)
    }
}

impl PatchEmbedding {
    /// Registers projection and norms, for at most `most` patches.
    fn new(dim: usize, o: &ViTransformerWrapperOptions, most: usize, p: &Params) -> Self {
        let (size, channels) = (o.patch_size.get(), o.channels.get());
        let width = channels * size * size;
        let place = p.submodule("patch_to_embedding");
        // the numbers are the indices in PyTorch's Sequential
        let norm = |width, index| LayerNorm::new(width, &mut place.submodule(index));
        let first = o.patch_norm.then(|| norm(width, "0"));
        let projection = Linear::new(width, dim, true, &mut place.submodule("1"));
        let norms = first.map(|first| [first, norm(dim, "2")]);
        Self { norms, projection, size, channels, most }
    }

    /// `(batch, channels, height, width)` to `(batch, patches, dim)`.
    fn forward(&self, image: &Tensor) -> Result<Tensor> {
        let patches = self.split(image)?; // (batch, patches, patch² · channels)
        match &self.norms {
            None => self.projection.forward(&patches),
            Some([first, second]) => {
                second.forward(&self.projection.forward(&first.forward(&patches)?)?)
            }
        }
    }

    /// Splits images into patches, row by row: `(batch, channels, height, width)` to
    /// `(batch, patches, patch² · channels)`. The features of a patch are in the order (row,
    /// column, channel).
    fn split(&self, image: &Tensor) -> Result<Tensor> {
        let p = self.size;
        let fits = image.rank() == 4
            && image.dim(1) == self.channels
            && image.dtype().is_float()
            && (2..4).all(|axis| image.dim(axis) > 0 && image.dim(axis).is_multiple_of(p))
            && (image.dim(2) / p) * (image.dim(3) / p) <= self.most;
        if !fits {
            return Error::shape(format!(
                "an image must be floating-point of shape (batch, {}, height, width), both multiples of {p} with at most {} patches, got {} of shape {:?}",
                self.channels,
                self.most,
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
