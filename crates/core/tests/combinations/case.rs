//! One case: a model's specification, and the arguments of its call.

use crate::draw::{legal, Options};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_core::Model;
use xt_options::context::StackContext;
use xt_options::{layers, wrappers, LayerKind};

/// A model and a call.
#[derive(Clone)]
pub struct Case {
    pub spec: Json,
    /// Names of the arguments of the call and of the results that it requests.
    pub call: Options,
    pub model: Arc<Model>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let call: Vec<&String> = self.call.keys().collect();
        write!(f, "{} called with {call:?}", self.spec)
    }
}

impl Case {
    pub fn new(mut spec: Json, call: Options) -> Self {
        let model = legal(&mut spec);
        let mut case = Self { spec, call, model };
        case.drop_fully_masked();
        if case.is_on("return_only_embed") {
            case.call.remove("return_logits_and_embeddings");
        }
        case
    }

    /// A window over the past and a mask over pairs may leave a query without any key; then, as in
    /// Python, it attends to all.
    fn drop_fully_masked(&mut self) {
        if ["attn_max_attend_past", "max_attend_past", "enc_attn_max_attend_past"]
            .iter()
            .any(|name| self.option(name).is_some())
        {
            self.call.retain(|name, _| !name.starts_with("attn_mask"));
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.call.contains_key(name)
    }

    /// An option of the model, or of one inside it.
    pub fn option(&self, name: &str) -> Option<&Json> {
        fn find<'a>(spec: &'a Json, name: &str) -> Option<&'a Json> {
            let options = spec["options"].as_object()?;
            options.get(name).filter(|v| v.get("class").is_none()).or_else(|| {
                let inner = options.values().filter(|v| v.get("class").is_some());
                inner.flat_map(|spec| find(spec, name)).next()
            })
        }
        find(&self.spec, name)
    }

    pub fn is_on(&self, name: &str) -> bool {
        self.option(name).is_some_and(|value| *value == json!(true))
    }

    /// The specification of the stack of layers.
    pub fn layers(&self) -> &Json {
        let mut spec = &self.spec;
        while let Some(inner) =
            ["net", "attn_layers"].iter().find_map(|name| spec["options"].get(name))
        {
            spec = inner;
        }
        spec
    }

    pub fn causal(&self) -> bool {
        self.layers()["class"] == "Decoder"
    }

    pub fn cross_attends(&self) -> bool {
        self.layers()["class"] == "CrossAttender" || self.is_on("cross_attend")
    }

    /// Whether the call gives the context positions: where it says so, or has to.
    pub fn turns_context(&self) -> bool {
        let by_length =
            self.option("rotary_scaling").is_some_and(|scaling| scaling["rope_type"] == "dynamic");
        let can = self.is_on("rotary_pos_emb") && !self.is_on("rotary_xpos") && !by_length;
        can && (self.has("context_pos") || self.self_attentions() == 0)
    }

    /// The kinds of the sub-layers in the order of their runs.
    pub fn kinds(&self) -> Vec<LayerKind> {
        let spec = self.layers();
        let of = |stack: &xt_options::layers::StackOptions, place: StackContext| {
            let kinds = stack.layer_kinds(place).unwrap();
            stack.execution_order(kinds.len()).into_iter().map(|index| kinds[index]).collect()
        };
        match spec["class"].as_str().unwrap() {
            "CrossAttender" => {
                let o: layers::CrossAttenderOptions = xt_options::parse(&spec["options"]).unwrap();
                of(&o.stack, o.context())
            }
            "XTransformer" => {
                let o: wrappers::XTransformerOptions = xt_options::parse(&spec["options"]).unwrap();
                of(&o.decoder.stack, o.decoder_context())
            }
            "Attention" => vec![LayerKind::SelfAttention],
            _ => {
                let o: layers::LayersOptions = xt_options::parse(&spec["options"]).unwrap();
                of(&o.stack, o.context())
            }
        }
    }

    pub fn self_attentions(&self) -> usize {
        self.kinds().iter().filter(|kind| **kind == LayerKind::SelfAttention).count()
    }

    /// A cross attention without a context attends to the whole sequence itself, as in Python.
    pub fn crosses_to_itself(&self) -> bool {
        !self.cross_attends() && self.kinds().contains(&LayerKind::CrossAttention)
    }

    pub fn shifts(&self) -> bool {
        self.option("shift_tokens").is_some()
    }

    /// Whether the parameter of this name gets a gradient with these options.
    pub fn reaches(&self, name: &str) -> bool {
        let embeddings_only =
            self.has("return_embeddings") && !self.has("return_logits_and_embeddings");
        let head =
            ["to_logits.", "project_out.", "mlp_head."].iter().any(|part| name.starts_with(part));
        let unused_bias = name.contains("rel_pos.") && !self.uses_bias(name);
        // an encoder has a head, as in Python, which is not used
        let unused_head = name.starts_with("encoder.to_logits.") || (head && embeddings_only);
        let replaced =
            name.contains("pos_emb.") && !name.contains("rotary") && self.has("pos_embeds");
        let unread =
            name.starts_with("encoder.") && !self.kinds().contains(&LayerKind::CrossAttention);
        let condition =
            name == "null_embed" && self.option("self_cond_train_prob") != Some(&json!(0.0));
        !(unread || unused_bias || unused_head || replaced || condition)
    }

    /// Whether the model computes scores that a bias can be added to.
    fn uses_bias(&self, name: &str) -> bool {
        if name.starts_with("encoder.") {
            let o: wrappers::XTransformerOptions =
                xt_options::parse(&self.spec["options"]).unwrap();
            return o
                .encoder
                .stack
                .layer_kinds(o.encoder_context())
                .unwrap()
                .contains(&LayerKind::SelfAttention);
        }
        self.self_attentions() > 0
    }
}
