//! Lists the options of a decoder, validates some, and shows every problem of wrong ones:
//! `cargo run --example options -p xt-options`.

use serde_json::json;
use std::error::Error;
use xt_options::sets;

fn main() -> Result<(), Box<dyn Error>> {
    let decoder = sets::find("Decoder").ok_or("there is no such class")?;
    let options = decoder.options();
    println!("A Decoder has {} options; those of positions:", options.len());
    for option in options.iter().filter(|option| option.name.contains("rotary")) {
        let default = option.field.default.map_or("required".to_string(), |of| of().to_string());
        println!("  {:24} {default:8} {}", option.name, option.text(&[]));
    }

    let resolved =
        decoder.resolve(&json!({ "dim": 64, "depth": 2 })).map_err(|p| p.to_json().to_string())?;
    println!("\nHeads, unless given: {}", resolved["heads"]);

    match decoder.resolve(&json!({ "dim": 64, "head": 4, "attn_dropout": 2 })) {
        Ok(_) => return Err("wrong options were accepted".into()),
        Err(problems) => problems.0.iter().for_each(|problem| println!("{problem}")),
    }
    Ok(())
}
