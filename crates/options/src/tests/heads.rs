//! Options of what a transformer has before and after its layers.

use super::conflicts::refused;
use super::{read, with};
use crate::wrappers::TransformerWrapperOptions;
use serde_json::{json, Value};

#[test]
fn heads_pools_and_kinds_of_a_transformer_refuse_what_makes_no_sense() {
    let text = |options: Value| {
        let required =
            json!({ "num_tokens": 9, "max_seq_len": 9, "attn_layers": { "$module": 0 } });
        with(required, options)
    };
    let cases = [
        (json!({ "use_cls_token": true, "average_pool_embed": true }), "average_pool_embed"),
        (json!({ "num_output_heads": 2, "tie_embedding": true }), "num_output_heads"),
        (json!({ "num_output_heads": 0 }), "num_output_heads"),
        (json!({ "logit_softclamp_value": 0 }), "logit_softclamp_value"),
        (json!({ "embed_num_tokens": { "a.b": 2 } }), "embed_num_tokens"),
        (json!({ "embed_num_tokens": { "": 2 } }), "embed_num_tokens"),
        (json!({ "embed_num_tokens": { "a": 2, "b": 0 } }), "embed_num_tokens"),
        (json!({ "embed_num_tokens": { "$tensor": 1 } }), "embed_num_tokens"),
        (json!({ "embed_num_tokens": [3] }), "embed_num_tokens"),
    ];
    for (options, path) in cases {
        refused::<TransformerWrapperOptions>(text(options), path);
    }
    let read: TransformerWrapperOptions =
        read(text(json!({ "embed_num_tokens": { "z": 2, "a": 3 }, "num_cls_tokens": 4 })));
    let names: Vec<_> = read.kinds.embed_num_tokens.0.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["z", "a"]);
}
