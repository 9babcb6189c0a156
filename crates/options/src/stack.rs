//! The order of the sub-layers of a stack, and conflicts between its options.

use crate::context::StackContext;
use crate::layers::StackOptions;
use crate::{LayerKind, OneOrMany, Problem, Problems};

use LayerKind::{CrossAttention, FeedForward, SelfAttention};

/// The maximum depth. A larger one is certainly a mistake, and the list of sub-layers could exhaust
/// memory.
const MAX_DEPTH: usize = 100_000;

const NEEDS_SELF_ATTENTION: &str = "needs a self attention; it does not act on cross attention";

impl StackOptions {
    /// Whether rotary positions are on, with or without decay.
    pub fn is_rotary(&self) -> bool {
        self.rotary_pos_emb || self.rotary_xpos
    }

    /// Whether the layers replace absolute positions, usually since they encode positions
    /// themselves.
    pub fn has_pos_emb(&self) -> bool {
        self.disable_abs_pos_emb.unwrap_or(self.rel_pos_bias || self.is_rotary())
    }

    /// The sub-layers in order, or the problem with the option that is out of range.
    pub fn layer_kinds(&self, context: StackContext) -> Result<Vec<LayerKind>, Problem> {
        if let Some(layers) = &self.custom_layers {
            return Ok(layers.clone());
        }
        let depth = self.depth.get();
        if depth > MAX_DEPTH {
            return Err(problem("depth", format!("must be at most {MAX_DEPTH}")));
        }
        let block = self.block(context);
        if self.weight_tie_layers {
            return Ok(block);
        }
        match (self.par_ratio, self.sandwich_coef) {
            (Some(ratio), _) => par_layers(&block, depth * block.len(), ratio),
            (None, Some(coef)) if coef == 0 || coef > depth => {
                Err(problem("sandwich_coef", format!("must be from 1 to `depth` ({depth})")))
            }
            (None, Some(coef)) => {
                Ok([vec![SelfAttention; coef], block.repeat(depth - coef), vec![FeedForward; coef]]
                    .concat())
            }
            (None, None) => Ok(block.repeat(depth)),
        }
    }

    /// The indices of the sub-layers, of which there are `count`, in the order of their runs.
    pub fn execution_order(&self, count: usize) -> Vec<usize> {
        match &self.layers_execute_order {
            Some(order) => order.clone(),
            None if self.weight_tie_layers => {
                (0..count * self.depth.get()).map(|run| run % count.max(1)).collect()
            }
            None => (0..count).collect(),
        }
    }

    /// Whether sub-layers are run in another order than the usual one.
    pub fn has_own_order(&self) -> bool {
        self.weight_tie_layers || self.layers_execute_order.is_some()
    }

    /// Reports an order of runs that does not fit `kinds`.
    fn check_order(&self, kinds: &[LayerKind], prefix: &str, problems: &mut Problems) {
        let (tied, order) = (format!("{prefix}weight_tie_layers"), &self.layers_execute_order);
        let others = [
            (self.custom_layers.is_some(), "custom_layers"),
            (self.par_ratio.is_some(), "par_ratio"),
            (self.sandwich_coef.is_some(), "sandwich_coef"),
            (order.is_some(), "layers_execute_order"),
        ];
        for (_, other) in others.into_iter().filter(|(set, _)| *set && self.weight_tie_layers) {
            problems.add(tied.clone(), format!("does not go with `{prefix}{other}`"));
        }
        let Some(order) = order else { return };
        let path = format!("{prefix}layers_execute_order");
        let mut named = vec![false; kinds.len()];
        for index in order {
            named.get_mut(*index).into_iter().for_each(|named| *named = true);
        }
        if let Some(unused) = named.iter().position(|named| !named) {
            problems.add(path.clone(), format!("does not name sub-layer {unused}: each must run"));
        }
        problems.require(
            order.iter().all(|index| *index < kinds.len()),
            &path,
            format!("has an index that is not below {}, the number of sub-layers", kinds.len()),
        );
        problems.require(
            order.len() <= MAX_DEPTH,
            &path,
            format!("has more than {MAX_DEPTH} runs"),
        );
        let beside =
            |pair: &[usize]| kinds.get(pair[1]) != Some(&FeedForward) || pair[1] == pair[0] + 1;
        let starts = order.first().is_none_or(|index| kinds.get(*index) != Some(&FeedForward));
        problems.require(
            !self.parallel_block || (starts && order.windows(2).all(beside)),
            &path,
            format!("must name whole blocks with `{prefix}parallel_block`"),
        );
    }

    /// Reports values that cannot be mixed because their shapes differ from layer to layer.
    fn check_value_residual(&self, prefix: &str, problems: &mut Problems) {
        let heads = self.heads.get();
        let mut shapes = self.attn.each().map(|attn| (attn.key_heads(heads), attn.value_dim()));
        let first = shapes.next();
        problems.require(
            !self.add_value_residual || shapes.all(|shape| Some(shape) == first),
            &format!("{prefix}add_value_residual"),
            "needs the same number of heads and the same width of values in all attentions",
        );
    }

    /// The sub-layers of one block.
    pub fn block(&self, context: StackContext) -> Vec<LayerKind> {
        let mut block = if self.macaron { vec![FeedForward] } else { vec![] };
        match (context.cross_attend, context.only_cross) {
            (true, false) => block.extend([SelfAttention, CrossAttention]),
            (true, true) => block.push(CrossAttention),
            (false, _) => block.push(SelfAttention),
        }
        block.push(FeedForward);
        block
    }

    pub(crate) fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        let path = |name: &str| format!("{prefix}{name}");
        let mut require = |holds: bool, name: &str, message: String| {
            problems.require(holds, &path(name), message)
        };
        require(
            !(self.alibi_pos_bias && self.rel_pos_bias),
            "alibi_pos_bias",
            format!("does not go with `{prefix}rel_pos_bias`; choose one of the two"),
        );
        let (buckets, distance) = (self.rel_pos_num_buckets, self.rel_pos_max_distance);
        require(
            buckets <= distance,
            "rel_pos_num_buckets",
            format!("{buckets} is more than `{prefix}rel_pos_max_distance` ({distance})"),
        );
        self.check_alibi(prefix, problems);
        self.check_rotary(prefix, problems);
        let mut require = |holds: bool, name: &str, message: String| {
            problems.require(holds, &path(name), message)
        };
        require(
            !self.deepnorm || self.scale_residual_constant == 1.0,
            "scale_residual_constant",
            format!("is set by `{prefix}deepnorm`; leave it at 1"),
        );
        self.check_norms(prefix, problems);
        for attn in self.attn.each() {
            attn.check_heads(self.heads, &path("attn_"), problems);
        }
        let mut require = |holds: bool, name: &str, message: String| {
            problems.require(holds, &path(name), message)
        };
        require(
            !(self.zero_init_branch_output && self.attn.each().any(|attn| attn.on_attn)),
            "zero_init_branch_output",
            format!(
                "does not go with `{prefix}attn_on_attn`, whose gate would have to start at 0 too"
            ),
        );
        let zero = self.zero_init_branch_output
            || self.attn.each().any(|attn| attn.zero_init_output)
            || self.ff.each().any(|ff| ff.zero_init_output);
        require(
            !(self.use_layerscale && zero && self.layerscale_init_value == 0.0),
            "use_layerscale",
            format!(
                "with a `{prefix}layerscale_init_value` of 0 does not go with branches that start \
                 at 0: they would never learn"
            ),
        );
        let memories: Vec<usize> = self.attn.each().map(|attn| attn.num_mem_kv).collect();
        require(
            !(self.residual_attn || self.cross_residual_attn)
                || memories.windows(2).all(|pair| pair[0] == pair[1]),
            "attn_num_mem_kv",
            "must be the same for all layers where scores are handed on".into(),
        );
        for (on, other) in [
            (self.zero_init_branch_output, "zero_init_branch_output"),
            (self.attn.each().any(|attn| attn.zero_init_output), "attn_zero_init_output"),
            (self.ff.each().any(|ff| ff.zero_init_output), "ff_zero_init_output"),
            (self.deepnorm, "deepnorm"),
        ] {
            require(
                !(self.depth_scale_residual && on),
                "depth_scale_residual",
                format!("does not go with `{prefix}{other}`, which sets the same initial weights"),
            );
        }
    }

    /// Reports conflicts with the width and the order of the layers.
    pub(crate) fn check_context(
        &self,
        context: StackContext,
        prefix: &str,
        problems: &mut Problems,
    ) {
        let path = |name: &str| format!("{prefix}{name}");
        let kinds = match self.layer_kinds(context) {
            Ok(kinds) => kinds,
            Err(problem) => return problems.add(path(&problem.path), problem.message),
        };
        let lengths = [
            ("shift_tokens", self.shift_tokens.len()),
            ("layer_dropout", self.layer_dropout.len()),
        ];
        let count = |kind| kinds.iter().filter(|other| **other == kind).count();
        let attentions = match count(SelfAttention) {
            0 => (count(CrossAttention), "cross attentions"),
            attentions => (attentions, "self attentions"),
        };
        self.check_rotary_lengths(attentions, prefix, problems);
        self.check_blocks(attentions, count(FeedForward), prefix, problems);
        self.check_order(&kinds, prefix, problems);
        self.check_value_residual(prefix, problems);
        for (name, length) in lengths {
            problems.require(
                length.is_none_or(|n| n == kinds.len()),
                &path(name),
                format!(
                    "has {} entries, but there are {} sub-layers",
                    length.unwrap_or_default(),
                    kinds.len()
                ),
            );
        }
        if kinds.iter().any(|kind| *kind != FeedForward) {
            for attn in self.attn.each() {
                attn.check_output((self.heads, context.dim), &path("attn_"), problems);
            }
            let projected = self.attn.each().all(|attn| attn.project_out);
            for (name, on) in [
                ("zero_init_branch_output", self.zero_init_branch_output),
                ("depth_scale_residual", self.depth_scale_residual),
            ] {
                problems.require(
                    projected || !on,
                    &path(name),
                    format!(
                        "is about the last layer of a branch, which attentions with \
                         `{prefix}attn_project_out: false` lack"
                    ),
                );
            }
        }
        self.check_parallel(context.cross_attend, prefix, problems);
        let is_cross = |index: &&usize| kinds.get(**index) == Some(&CrossAttention);
        let several = self.execution_order(kinds.len()).iter().filter(is_cross).count() > 1;
        for (on, other) in [
            (self.cross_residual_attn, "cross_residual_attn"),
            (self.add_value_residual, "add_value_residual"),
        ] {
            problems.require(
                !(several && on && self.cross_attn_tokens_dropout.0 > 0.0),
                &path("cross_attn_tokens_dropout"),
                format!("does not go with `{prefix}{other}`: each layer would have other keys"),
            );
        }
        if kinds.contains(&SelfAttention) {
            self.check_positions(context.dim, prefix, problems);
        } else if self.is_rotary() && (self.rotary_xpos || !context.cross_attend) {
            let name = if self.rotary_xpos { "rotary_xpos" } else { "rotary_pos_emb" };
            problems.add(path(name), NEEDS_SELF_ATTENTION);
        } else if self.is_rotary() && self.scales_by_length() {
            problems.add(
                path("rotary_scaling"),
                "needs a self attention if it depends on the length of the sequence",
            );
        }
        if kinds.contains(&FeedForward) {
            self.check_feedforward(context.dim, prefix, problems);
        }
    }

    /// Reports rotary positions that cannot act, where calls have no `context_pos`.
    pub(crate) fn check_rotary_acts(
        &self,
        context: StackContext,
        prefix: &str,
        problems: &mut Problems,
    ) {
        let acts = self.layer_kinds(context).map_or(true, |kinds| kinds.contains(&SelfAttention));
        if self.rotary_pos_emb && !acts {
            problems.add(format!("{prefix}rotary_pos_emb"), NEEDS_SELF_ATTENTION);
        }
    }

    /// Reports arrays of values of blocks that do not have a value for each of the `attentions`,
    /// with what these are, or of the `feedforwards`.
    fn check_blocks(
        &self,
        attentions: (usize, &str),
        feedforwards: usize,
        prefix: &str,
        problems: &mut Problems,
    ) {
        let blocks = [
            ("attn_", self.attn.array(), self.attn.count(), attentions),
            ("ff_", self.ff.array(), self.ff.count(), (feedforwards, "feed-forwards")),
        ];
        for (group, name, length, (wanted, what)) in blocks {
            let Some(length) = length.filter(|length| *length != wanted) else { continue };
            problems.add(
                format!("{prefix}{group}{}", name.unwrap_or_default()),
                format!("has {length} entries, but there are {wanted} {what}"),
            );
        }
    }

    fn check_positions(&self, dim: usize, prefix: &str, problems: &mut Problems) {
        for attn in self.attn.each().filter(|_| self.is_rotary() && self.rotary_values) {
            let width = attn.dim_head.get();
            let rotated = 2 * self.rotary_dim(width).div_ceil(2).min(width / 2);
            let values = attn.value_dim();
            problems.require(
                values >= rotated,
                &format!("{prefix}attn_value_dim_head"),
                format!(
                    "{values} is less than the {rotated} features that rotary positions rotate"
                ),
            );
        }
        let dynamic = self.dynamic_pos_bias && !self.rel_pos_bias;
        let path = format!("{prefix}dynamic_pos_bias");
        problems.require(!dynamic || dim >= 4, &path, "needs a `dim` of at least 4");
        problems.require(
            !dynamic || self.attn.each().all(|attn| attn.num_mem_kv == 0),
            &path,
            format!("does not go with `{prefix}attn_num_mem_kv`: memory keys have no distance"),
        );
    }

    fn check_feedforward(&self, dim: usize, prefix: &str, problems: &mut Problems) {
        // an output of width 1 is broadcast over the residual, as in Python
        let spread = !self.norm_places().branch && !self.gate_residual;
        let fits = |out: usize| out == dim || (out == 1 && spread);
        for ff in self.ff.each() {
            problems.require(
                ff.dim_out.is_none_or(|out| fits(out.get())),
                &format!("{prefix}ff_dim_out"),
                format!("must equal `dim` ({dim}), so that the residual can be added"),
            );
            problems.require(
                ff.mult <= 0.0 || ff.inner_dim(dim) > 0,
                &format!("{prefix}ff_mult"),
                format!("leaves no hidden layer at a `dim` of {dim}"),
            );
        }
    }

    /// Reports conflicts with the direction: whether the stack is causal.
    pub(crate) fn check_direction(
        &self,
        context: StackContext,
        causal: bool,
        prefix: &str,
        problems: &mut Problems,
    ) {
        let path = |name: &str| format!("{prefix}{name}");
        problems.require(
            causal || !self.rotary_xpos,
            &path("rotary_xpos"),
            "is for causal attention, that is for a Decoder, only",
        );
        let least = if causal { 2 } else { 4 };
        problems.require(
            !self.rel_pos_bias || self.rel_pos_num_buckets.get() >= least,
            &path("rel_pos_num_buckets"),
            format!("must be at least {least} here"),
        );
        // the features are split into one segment per shift: 0 to the number, or both directions if
        // not causal
        let widest = if causal { context.dim - 1 } else { (context.dim - 1) / 2 };
        let shift = self.shift_tokens.values().iter().max().copied().unwrap_or_default();
        problems.require(
            shift <= widest,
            &path("shift_tokens"),
            format!("{shift} is too much for a `dim` of {}; {widest} is the most", context.dim),
        );
    }
}

fn problem(path: &str, message: String) -> Problem {
    Problem { path: path.into(), message, ..Problem::default() }
}

/// Removes the feed-forwards from `block`, pads it with feed-forwards to a width, repeats it over
/// about the first two thirds of `total` sub-layers, and appends feed-forwards.
fn par_layers(block: &[LayerKind], total: usize, ratio: usize) -> Result<Vec<LayerKind>, Problem> {
    if ratio <= 1 || ratio > total {
        return Err(problem(
            "par_ratio",
            format!("must be from 2 to {total}, the number of sub-layers"),
        ));
    }
    let count = total / ratio;
    let cut = total * 2 / 3;
    let width = (cut + cut / count) / count;
    let mut block: Vec<_> = block.iter().copied().filter(|kind| *kind != FeedForward).collect();
    if block.len() > width {
        return Err(problem(
            "par_ratio",
            format!("{ratio} leaves {width} sub-layers for a block of {}", block.len()),
        ));
    }
    block.resize(width, FeedForward);
    let mut layers = block.repeat(count);
    layers.resize(total.max(layers.len()), FeedForward);
    Ok(layers)
}

impl<T> OneOrMany<T> {
    /// The length of a list; `None` for a single value.
    pub(crate) fn len(&self) -> Option<usize> {
        match self {
            OneOrMany::One(_) => None,
            OneOrMany::Many(list) => Some(list.len()),
        }
    }

    pub(crate) fn values(&self) -> &[T] {
        match self {
            OneOrMany::One(value) => std::slice::from_ref(value),
            OneOrMany::Many(list) => list,
        }
    }
}
