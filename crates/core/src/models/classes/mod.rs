//! The classes that users construct by name: how each is constructed, and its methods by name.

mod attention;
mod autoregressive;
mod construction;
mod continuous;
mod inputs;
mod layers;
mod modules;
mod non_autoregressive;
mod prompts;
mod transformer;
mod vit;
mod x_transformer;

pub use construction::Construction;

use super::model::Built;
use crate::Params;
use serde_json::Value as Json;

/// A constructor: options, models passed to it, and where its parameters are registered.
type Constructor = fn(&Json, &mut Construction, &mut Params) -> Built;

/// Every class: its name, as in the Python package, and its constructor.
pub const CLASSES: [(&str, Constructor); 18] = [
    ("Encoder", layers::encoder),
    ("Decoder", layers::decoder),
    ("CrossAttender", layers::cross_attender),
    ("TransformerBlock", layers::block),
    ("Attention", attention::new),
    ("TransformerWrapper", transformer::new),
    ("AutoregressiveWrapper", autoregressive::new),
    ("XTransformer", x_transformer::new),
    ("ViTransformerWrapper", vit::new),
    ("ContinuousTransformerWrapper", continuous::transformer),
    ("NonAutoregressiveWrapper", non_autoregressive::new),
    ("ContinuousAutoregressiveWrapper", continuous::autoregressive),
    ("Linear", modules::linear),
    ("Embedding", modules::embedding),
    ("LayerNorm", modules::layer_norm),
    ("RMSNorm", modules::rms_norm),
    ("Dropout", modules::dropout),
    ("FeedForward", modules::feedforward),
];

#[cfg(test)]
mod tests {
    use super::*;
    use xt_options::sets::all;

    #[test]
    fn every_class_has_a_set_of_options_and_every_set_its_class() {
        let sets = all().into_iter().filter(|set| set.methods.is_some());
        let mut declared: Vec<&str> = sets.filter_map(|set| set.class()).collect();
        let mut built = CLASSES.map(|(name, _)| name);
        declared.sort_unstable();
        built.sort_unstable();
        assert_eq!(declared, built);
    }
}
