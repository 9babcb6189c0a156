//! `ts/worker/models.gen.ts`: the classes of models as they are on a page whose worker computes.

use crate::typescript::{comment, HEAD};
use xt_options::sets::{self, OptionSet};
use xt_options::ValueKind;

const IMPORTS: &str = "
import type * as Main from '../models/index.js'
import { Computing, Stepwise } from './remote-model.js'
import { streamOf } from './stream.js'
import type { RemoteInputs, RemoteMethod } from './types.js'
";

/// The whole file.
pub fn file() -> String {
    let sets = sets::all();
    let classes = sets.iter().filter_map(|set| {
        let (name, methods) = set.class().zip(set.methods)?;
        Some(class(name, set, methods))
    });
    format!("{HEAD}{IMPORTS}{}", classes.collect::<String>())
}

/// `ts/worker/model-types.gen.ts`: the same classes as types, which the entry exports.
pub fn types() -> String {
    let sets = sets::all();
    let names = sets.iter().filter(|set| set.methods.is_some()).filter_map(OptionSet::class);
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    let lines: String = names.iter().map(|name| format!("  {name},\n")).collect();
    format!("{HEAD}\nexport type {{\n{lines}}} from './models.gen.js'\n")
}

fn class(name: &str, set: &OptionSet, methods: &[&str]) -> String {
    let base = if methods.contains(&"cacheable") { "Stepwise" } else { "Computing" };
    let getters = set.spec.flatten().into_iter().filter_map(|option| match option.kind {
        ValueKind::Module(classes) => Some(getter(&option.name, classes, false)),
        ValueKind::Optional(&ValueKind::Module(classes)) => {
            Some(getter(&option.name, classes, true))
        }
        _ => None,
    });
    let methods = methods.iter().filter_map(|method| match *method {
        "cacheable" => None,
        "stream" => Some(stream(name)),
        method => Some(computed(name, method)),
    });
    let members = getters.chain(methods).collect::<Vec<_>>().join("\n");
    let body = if members.is_empty() { String::new() } else { format!("\n{members}") };
    let about = comment("", &format!("`{name}` of the main library, in a worker."), &[]);
    format!("\n{about}export class {name} extends {base}<Main.{name}> {{{body}}}\n")
}

/// The model that was given as an option.
fn getter(option: &str, classes: &[&str], optional: bool) -> String {
    let class = classes.join(" | ");
    let about = comment("  ", "The model that was given.", &[]);
    let none = comment("  ", "The model that was given; null without one.", &[]);
    if optional {
        return format!(
            "{none}  get {option}(): {class} | null {{
    return this.within<{class} | undefined>('{option}') ?? null
  }}
"
        );
    }
    format!(
        "{about}  get {option}(): {class} {{
    return this.within('{option}')
  }}
"
    )
}

fn computed(class: &str, method: &str) -> String {
    let about = comment("  ", &format!("As `{method}` of the class in the main library."), &[]);
    format!(
        "{about}  get {method}(): RemoteMethod<Main.{class}['{method}']> {{
    return this.compute('{method}')
  }}
"
    )
}

fn stream(class: &str) -> String {
    let text =
        "As `stream` of the class in the main library: a number for one row, `number[]` for \
                several (name it: `stream<number[]>`). The worker is at most a few tokens ahead of \
                the reader; other calls run between two tokens. Leaving the loop ends the \
                generation.";
    let about = comment("  ", text, &[]);
    format!(
        "{about}  stream<Row extends number | number[] = number>(
    ...given: RemoteInputs<Parameters<Main.{class}['stream']>>
  ): AsyncIterableIterator<Row> {{
    return streamOf(this, given)
  }}
"
    )
}
