//! Which declarations become which TypeScript interface, and which table.

use xt_options::{attention, autoregressive, calls, generation, layers, optimizers, wrappers, Named, Options, Spec};

/// One TypeScript interface.
pub struct Interface {
    pub name: &'static str,
    pub spec: Spec,
    /// Options that are positional arguments in TypeScript.
    pub positional: &'static [&'static str],
    /// The heading of its table in the README, where it has one.
    pub heading: Option<&'static str>,
}

impl Interface {
    fn of<T: Options>(name: &'static str) -> Self {
        Self { name, spec: T::SPEC, positional: &[], heading: None }
    }

    fn table(self, heading: &'static str) -> Self {
        Self { heading: Some(heading), ..self }
    }

    fn after(self, positional: &'static [&'static str]) -> Self {
        Self { positional, ..self }
    }

    /// Its options under their full names, the required ones first.
    pub fn options(&self) -> Vec<Named> {
        let mut options = self.spec.flatten();
        options.retain(|option| !self.positional.contains(&option.name.as_str()));
        options.sort_by_key(|option| option.field.default.is_some());
        options
    }
}

pub fn all() -> Vec<Interface> {
    [classes(), calls(), generations(), training()].into_iter().flatten().collect()
}

fn classes() -> Vec<Interface> {
    use autoregressive::*;
    use layers::*;
    use wrappers::*;
    vec![
        Interface::of::<LayersOptions>("EncoderOptions").table("Encoder, Decoder"),
        Interface::of::<LayersOptions>("DecoderOptions"),
        Interface::of::<CrossAttenderOptions>("CrossAttenderOptions").table("CrossAttender"),
        Interface::of::<attention::AttentionOptions>("AttentionOptions").table("Attention"),
        Interface::of::<TransformerWrapperOptions>("TransformerWrapperOptions").table("TransformerWrapper"),
        Interface::of::<ContinuousTransformerWrapperOptions>("ContinuousTransformerWrapperOptions")
            .table("ContinuousTransformerWrapper"),
        Interface::of::<ViTransformerWrapperOptions>("ViTransformerWrapperOptions").table("ViTransformerWrapper"),
        Interface::of::<XTransformerOptions>("XTransformerOptions").table("XTransformer"),
        Interface::of::<AutoregressiveWrapperOptions>("AutoregressiveWrapperOptions")
            .after(&["net"])
            .table("AutoregressiveWrapper"),
        Interface::of::<ContinuousAutoregressiveWrapperOptions>("ContinuousAutoregressiveWrapperOptions")
            .after(&["net"])
            .table("ContinuousAutoregressiveWrapper"),
        Interface::of::<NonAutoregressiveWrapperOptions>("NonAutoregressiveWrapperOptions")
            .after(&["net"])
            .table("NonAutoregressiveWrapper"),
    ]
}

fn calls() -> Vec<Interface> {
    use calls::*;
    vec![
        Interface::of::<LayersCall>("LayersCall"),
        Interface::of::<AttentionCall>("AttentionCall"),
        Interface::of::<TransformerCall>("TransformerCall").table("forward of a TransformerWrapper"),
        Interface::of::<ContinuousTransformerCall>("ContinuousTransformerCall"),
        Interface::of::<ViTransformerCall>("ViTransformerCall"),
        Interface::of::<XTransformerCall>("XTransformerCall").table("forward of an XTransformer"),
        Interface::of::<AutoregressiveCall>("AutoregressiveCall"),
        Interface::of::<ContinuousAutoregressiveCall>("ContinuousAutoregressiveCall"),
        Interface::of::<NonAutoregressiveCall>("NonAutoregressiveCall"),
    ]
}

fn generations() -> Vec<Interface> {
    use generation::*;
    vec![
        Interface::of::<SamplingOptions>("SamplingOptions").table("generate, stream"),
        Interface::of::<GenerateOptions>("GenerateOptions"),
        Interface::of::<XTransformerGenerate>("XTransformerGenerate"),
        Interface::of::<ContinuousGenerate>("ContinuousGenerate"),
        Interface::of::<NonAutoregressiveGenerate>("NonAutoregressiveGenerate"),
        Interface::of::<TopKOptions>("TopKOptions"),
        Interface::of::<TopAOptions>("TopAOptions"),
    ]
}

fn training() -> Vec<Interface> {
    use optimizers::*;
    vec![
        Interface::of::<SgdOptions>("SGDOptions").table("SGD"),
        Interface::of::<AdamOptions>("AdamOptions").table("Adam"),
        Interface::of::<AdamWOptions>("AdamWOptions").table("AdamW"),
    ]
}
