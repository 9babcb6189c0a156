//! All sets of options by name: of classes, calls, filters, optimizers and schedules. The
//! TypeScript interfaces, the tables of docs/options.md and the validation by name use this list.

use crate::{
    attention, autoregressive, calls, generation, images, layers, modules, optimizers, schedules,
    wrappers,
};
use crate::{parse, parse_and, Named, Options, Problems, Spec};
use serde_json::{Map, Value};

/// The options of a class, a call or a function.
pub struct OptionSet {
    /// The name of the TypeScript interface.
    pub interface: &'static str,
    /// The declaration.
    pub spec: Spec,
    /// Options that are positional arguments in TypeScript.
    pub positional: &'static [&'static str],
    /// The heading of the table in docs/options.md; `None` if there is no table.
    pub heading: Option<&'static str>,
    /// The methods besides `forward`, if these are the options of a model class.
    pub methods: Option<&'static [&'static str]>,
    /// The functions that take these options.
    functions: &'static [&'static str],
    read: fn(&Value) -> Result<Value, Problems>,
}

impl OptionSet {
    fn of<T: Options>(interface: &'static str) -> Self {
        Self {
            interface,
            spec: T::SPEC,
            positional: &[],
            heading: None,
            methods: None,
            functions: &[],
            read: resolved::<T>,
        }
    }

    fn table(self, heading: &'static str) -> Self {
        Self { heading: Some(heading), ..self }
    }

    fn after(self, positional: &'static [&'static str]) -> Self {
        Self { positional, ..self }
    }

    /// Marks the options of a model class that has these methods besides `forward`. `cacheable`
    /// means that the class generates step by step.
    fn of_class(self, methods: &'static [&'static str]) -> Self {
        Self { methods: Some(methods), ..self }
    }

    fn of_functions(self, functions: &'static [&'static str]) -> Self {
        Self { functions, ..self }
    }

    fn reading(self, read: fn(&Value) -> Result<Value, Problems>) -> Self {
        Self { read, ..self }
    }

    /// Whether `name` is the interface, the class or one of the functions.
    fn is(&self, name: &str) -> bool {
        self.interface == name || self.class() == Some(name) || self.functions.contains(&name)
    }

    /// The name of the model or optimizer class whose constructor takes these options.
    pub fn class(&self) -> Option<&'static str> {
        self.interface.strip_suffix("Options")
    }

    /// The options under their full names, the required ones first.
    pub fn options(&self) -> Vec<Named> {
        let mut options = self.spec.flatten();
        options.retain(|option| !self.positional.contains(&option.name.as_str()));
        options.sort_by_key(|option| option.field.default.is_some());
        options
    }

    /// Validates `value` and adds the defaults of absent options.
    pub fn resolve(&self, value: &Value) -> Result<Value, Problems> {
        (self.read)(value)
    }

    /// Resolves each of `groups`, with `common` and then the defaults for absent options. Reports
    /// all problems at once; those of a group have paths that start with `param_groups[INDEX]`.
    pub fn resolve_groups(&self, common: &Value, groups: &[Value]) -> Result<Vec<Value>, Problems> {
        let mut problems = self.resolve(common).err().unwrap_or_default();
        // problems of the common options are reported once, not for each group
        let mut sound = common.as_object().cloned().unwrap_or_default();
        sound.retain(|name, _| !problems.0.iter().any(|problem| problem.path == *name));
        let mut all = vec![];
        for (i, group) in groups.iter().enumerate() {
            match self.resolve(&over(&sound, group)) {
                Ok(group) => all.push(group),
                Err(own) => problems.0.extend(own.nested_under(&format!("param_groups[{i}]")).0),
            }
        }
        if problems.0.is_empty() {
            Ok(all)
        } else {
            Err(problems)
        }
    }
}

/// The entries of `common`, overridden by those of `own`.
fn over(common: &Map<String, Value>, own: &Value) -> Value {
    match own {
        Value::Object(own) => {
            Value::Object(common.clone().into_iter().chain(own.clone()).collect())
        }
        other => other.clone(),
    }
}

fn resolved<T: Options>(value: &Value) -> Result<Value, Problems> {
    parse::<T>(value).map(|options| options.to_json())
}

/// Resolves the options of an `Encoder` or a `Decoder`, whose conflicts also depend on the class.
fn resolved_layers(class: &str, value: &Value) -> Result<Value, Problems> {
    let check = |options: &layers::LayersOptions, problems: &mut Problems| {
        options.check_class(class, problems)
    };
    Ok(parse_and(value, check)?.to_json())
}

/// The set of options of a class, a function or an interface.
pub fn find(name: &str) -> Option<OptionSet> {
    all().into_iter().find(|set| set.is(name))
}

/// All sets of options.
pub fn all() -> Vec<OptionSet> {
    [classes(), single_layers(), calls(), generations(), training()].into_iter().flatten().collect()
}

/// Resolves the options of a `TransformerBlock`, whose depth is not given.
fn resolved_block(value: &Value) -> Result<Value, Problems> {
    Ok(layers::one_block(value)?.to_json())
}

fn classes() -> Vec<OptionSet> {
    use autoregressive::*;
    use images::ViTransformerWrapperOptions;
    use layers::*;
    use wrappers::*;
    vec![
        OptionSet::of::<LayersOptions>("EncoderOptions")
            .reading(|value| resolved_layers("Encoder", value))
            .table("Encoder, Decoder")
            .of_class(&[]),
        OptionSet::of::<LayersOptions>("DecoderOptions")
            .reading(|value| resolved_layers("Decoder", value))
            .of_class(&[]),
        OptionSet::of::<CrossAttenderOptions>("CrossAttenderOptions")
            .table("CrossAttender")
            .of_class(&[]),
        OptionSet::of::<TransformerBlockOptions>("TransformerBlockOptions")
            .reading(resolved_block)
            .after(&["depth"])
            .table("TransformerBlock")
            .of_class(&[]),
        OptionSet::of::<crate::rotary_scaling::RotaryScaling>("RotaryScaling")
            .table("rotary_scaling"),
        OptionSet::of::<attention::AttentionOptions>("AttentionOptions")
            .table("Attention")
            .of_class(&[]),
        OptionSet::of::<TransformerWrapperOptions>("TransformerWrapperOptions")
            .table("TransformerWrapper")
            .of_class(&[]),
        OptionSet::of::<ContinuousTransformerWrapperOptions>("ContinuousTransformerWrapperOptions")
            .table("ContinuousTransformerWrapper")
            .of_class(&[]),
        OptionSet::of::<ViTransformerWrapperOptions>("ViTransformerWrapperOptions")
            .table("ViTransformerWrapper")
            .of_class(&[]),
        OptionSet::of::<XTransformerOptions>("XTransformerOptions")
            .table("XTransformer")
            .of_class(&["cacheable", "generate", "stream", "score"]),
        OptionSet::of::<AutoregressiveWrapperOptions>("AutoregressiveWrapperOptions")
            .after(&["net"])
            .table("AutoregressiveWrapper")
            .of_class(&["cacheable", "generate", "stream", "score"]),
        OptionSet::of::<ContinuousAutoregressiveWrapperOptions>(
            "ContinuousAutoregressiveWrapperOptions",
        )
        .after(&["net"])
        .table("ContinuousAutoregressiveWrapper")
        .of_class(&["cacheable", "generate"]),
        OptionSet::of::<NonAutoregressiveWrapperOptions>("NonAutoregressiveWrapperOptions")
            .after(&["net"])
            .table("NonAutoregressiveWrapper")
            .of_class(&["generate"]),
    ]
}

fn single_layers() -> Vec<OptionSet> {
    use modules::*;
    vec![
        OptionSet::of::<LinearOptions>("LinearOptions").table("Linear").of_class(&[]),
        OptionSet::of::<EmbeddingOptions>("EmbeddingOptions").table("Embedding").of_class(&[]),
        OptionSet::of::<LayerNormOptions>("LayerNormOptions").table("LayerNorm").of_class(&[]),
        OptionSet::of::<RMSNormOptions>("RMSNormOptions").table("RMSNorm").of_class(&[]),
        OptionSet::of::<DropoutOptions>("DropoutOptions").table("Dropout").of_class(&[]),
        OptionSet::of::<FeedForwardModuleOptions>("FeedForwardOptions")
            .table("FeedForward")
            .of_class(&[]),
    ]
}

fn calls() -> Vec<OptionSet> {
    use calls::*;
    vec![
        OptionSet::of::<LayersCall>("LayersCall"),
        OptionSet::of::<AttentionCall>("AttentionCall"),
        OptionSet::of::<TransformerCall>("TransformerCall")
            .table("forward of a TransformerWrapper"),
        OptionSet::of::<ContinuousTransformerCall>("ContinuousTransformerCall"),
        OptionSet::of::<ViTransformerCall>("ViTransformerCall"),
        OptionSet::of::<XTransformerCall>("XTransformerCall").table("forward of an XTransformer"),
        OptionSet::of::<AutoregressiveCall>("AutoregressiveCall"),
        OptionSet::of::<CountedTokens>("CountedTokens").table("score"),
        OptionSet::of::<ScoreOptions>("ScoreOptions"),
        OptionSet::of::<XTransformerScore>("XTransformerScore"),
        OptionSet::of::<ContinuousAutoregressiveCall>("ContinuousAutoregressiveCall"),
        OptionSet::of::<NonAutoregressiveCall>("NonAutoregressiveCall"),
    ]
}

fn generations() -> Vec<OptionSet> {
    use generation::*;
    vec![
        OptionSet::of::<SamplingOptions>("SamplingOptions").table("generate, stream"),
        OptionSet::of::<BeamOptions>("BeamOptions").table("generate: beam search"),
        OptionSet::of::<CacheOptions>("CacheOptions").table("generate, stream: what is kept"),
        OptionSet::of::<GenerateOptions>("GenerateOptions"),
        OptionSet::of::<StreamOptions>("StreamOptions"),
        OptionSet::of::<XTransformerGenerate>("XTransformerGenerate"),
        OptionSet::of::<XTransformerStream>("XTransformerStream"),
        OptionSet::of::<ContinuousGenerate>("ContinuousGenerate"),
        OptionSet::of::<NonAutoregressiveGenerate>("NonAutoregressiveGenerate"),
        OptionSet::of::<TopKOptions>("TopKOptions").of_functions(&["top_k", "top_p"]),
        OptionSet::of::<TopAOptions>("TopAOptions").of_functions(&["top_a"]),
    ]
}

fn training() -> Vec<OptionSet> {
    use optimizers::*;
    use schedules::*;
    vec![
        OptionSet::of::<SgdOptions>("SGDOptions").table("SGD"),
        OptionSet::of::<AdamOptions>("AdamOptions").table("Adam"),
        OptionSet::of::<AdamWOptions>("AdamWOptions").table("AdamW"),
        OptionSet::of::<LionOptions>("LionOptions").table("Lion"),
        OptionSet::of::<MuonOptions>("MuonOptions").table("Muon"),
        OptionSet::of::<AdafactorOptions>("AdafactorOptions").table("Adafactor"),
        OptionSet::of::<ConstantOptions>("ConstantOptions")
            .of_functions(&["constant"])
            .table("constant"),
        OptionSet::of::<LinearWarmupOptions>("LinearWarmupOptions")
            .of_functions(&["linearWarmup"])
            .table("linearWarmup"),
        OptionSet::of::<CosineWarmupOptions>("CosineWarmupOptions")
            .of_functions(&["cosineWarmup"])
            .table("cosineWarmup"),
        OptionSet::of::<LinearDecayOptions>("LinearDecayOptions")
            .of_functions(&["linearDecay"])
            .table("linearDecay"),
        OptionSet::of::<InverseSqrtOptions>("InverseSqrtOptions")
            .of_functions(&["inverseSqrt"])
            .table("inverseSqrt"),
        OptionSet::of::<WarmupStableDecayOptions>("WarmupStableDecayOptions")
            .of_functions(&["warmupStableDecay"])
            .table("warmupStableDecay"),
    ]
}
