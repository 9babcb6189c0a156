//! Where the norms of a stack stand, and conflicts between the options of norms and blocks.

use crate::layers::StackOptions;
use crate::{NormPosition, Problems};

/// Which norms a sub-layer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormPlaces {
    /// Before the branch.
    pub pre: bool,
    /// On the output of the branch.
    pub branch: bool,
    /// After the residual connection.
    pub post: bool,
}

impl StackOptions {
    /// Where the norms of the sub-layers stand.
    pub fn norm_places(&self) -> NormPlaces {
        let position = match (self.norm_position, self.pre_norm && !self.deepnorm) {
            (Some(position), _) => position,
            (None, true) if self.sandwich_norm => NormPosition::Sandwich,
            (None, true) => NormPosition::Pre,
            (None, false) => NormPosition::Post,
        };
        NormPlaces {
            pre: matches!(position, NormPosition::Pre | NormPosition::Sandwich),
            branch: matches!(position, NormPosition::Branch | NormPosition::Sandwich),
            post: position == NormPosition::Post || self.pre_and_post_norm,
        }
    }

    /// Reports conflicts between the options of norms.
    pub(crate) fn check_norms(&self, prefix: &str, problems: &mut Problems) {
        let mut require = |holds: bool, name: &str, message: String| {
            problems.require(holds, &format!("{prefix}{name}"), message)
        };
        require(
            !self.sandwich_norm || self.pre_norm || self.deepnorm,
            "sandwich_norm",
            format!("needs `{prefix}pre_norm`"),
        );
        let older = [
            (!self.pre_norm, "pre_norm"),
            (self.sandwich_norm, "sandwich_norm"),
            (self.deepnorm, "deepnorm"),
        ];
        if let Some((_, other)) = older.into_iter().find(|(set, _)| *set) {
            require(
                self.norm_position.is_none(),
                "norm_position",
                format!("does not go with `{prefix}{other}`; choose one of the two"),
            );
        }
        require(
            !self.pre_and_post_norm || self.norm_places().pre,
            "pre_and_post_norm",
            "needs a norm before each branch".into(),
        );
        let scale_norm = self.use_scalenorm && !self.use_rmsnorm && !self.use_simple_rmsnorm;
        let of_weights = [
            (!self.norm_elementwise_affine, "norm_elementwise_affine"),
            (self.norm_add_unit_offset, "norm_add_unit_offset"),
        ];
        for (set, name) in of_weights {
            require(
                !(set && scale_norm),
                name,
                format!("does not go with `{prefix}use_scalenorm`, which has one scale"),
            );
        }
    }

    /// Reports conflicts of parallel attention and feed-forward. `cross_attend` is whether the
    /// blocks have cross attention.
    pub(crate) fn check_parallel(&self, cross_attend: bool, prefix: &str, problems: &mut Problems) {
        let name = format!("{prefix}parallel_block");
        problems.require(
            self.parallel_block || !self.parallel_block_shared_norm,
            &format!("{name}_shared_norm"),
            format!("needs `{name}`"),
        );
        if !self.parallel_block {
            return;
        }
        let order = [
            (cross_attend, "cross_attend"),
            (self.macaron, "macaron"),
            (self.custom_layers.is_some(), "custom_layers"),
            (self.par_ratio.is_some(), "par_ratio"),
            (self.sandwich_coef.is_some(), "sandwich_coef"),
        ];
        for (_, other) in order.into_iter().filter(|(set, _)| *set) {
            problems.add(
                name.clone(),
                format!("needs blocks of attention and feed-forward, without `{prefix}{other}`"),
            );
        }
        let places = self.norm_places();
        problems.require(
            !places.post,
            &name,
            "does not go with norms after the residual connection, which follows both branches",
        );
        problems.require(
            places.pre || !self.parallel_block_shared_norm,
            &format!("{name}_shared_norm"),
            "needs a norm before each branch",
        );
    }
}
