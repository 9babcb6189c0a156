//! Reads a struct of options from JSON. Reports unknown names, wrong types, missing values and
//! conflicts all at once.

use crate::elsewhere;
use crate::problem::{nearest, Problem, Problems};
use crate::spec::{Spec, ValueKind};
use crate::types::OptionType;
use serde_json::{Map, Value};

/// A struct of options, declared by [`options!`](crate::options).
pub trait Options: Sized + 'static {
    /// The declaration.
    const SPEC: Spec;

    /// Reads each field from the entry `prefix` + name. `None` if a required field is missing or
    /// wrong.
    fn read(map: &Map<String, Value>, prefix: &str, problems: &mut Problems) -> Option<Self>;

    /// Writes each field to the entry `prefix` + name.
    fn write(&self, prefix: &str, map: &mut Map<String, Value>);

    /// All options as a JSON object, including those at their default.
    fn to_json(&self) -> Value {
        let mut map = Map::new();
        self.write("", &mut map);
        Value::Object(map)
    }

    /// Reports conflicts between the values. `prefix` is prepended to the paths.
    fn check(&self, prefix: &str, problems: &mut Problems) {
        let _ = (prefix, problems);
    }
}

/// Reads `value`, a JSON object. Reports all problems at once.
pub fn parse<T: Options>(value: &Value) -> Result<T, Problems> {
    parse_and(value, |_, _| {})
}

/// Like [`parse`]. `also` checks options that were read against conditions outside of them.
pub fn parse_and<T: Options>(
    value: &Value,
    also: impl FnOnce(&T, &mut Problems),
) -> Result<T, Problems> {
    let mut problems = Problems::default();
    let Some(map) = value.as_object() else {
        problems.add("options", "must be an object");
        return Err(problems);
    };
    unknown_names(map, &T::SPEC, &mut problems);
    let parsed = T::read(map, "", &mut problems);
    if let Some(options) = &parsed {
        options.check("", &mut problems);
        also(options, &mut problems);
    }
    match parsed {
        Some(options) if problems.0.is_empty() => Ok(options),
        _ => Err(problems),
    }
}

fn unknown_names(map: &Map<String, Value>, spec: &Spec, problems: &mut Problems) {
    let known = spec.flatten();
    let names: Vec<&str> = known.iter().map(|k| k.name.as_str()).collect();
    for name in map.keys().filter(|name| !names.contains(&name.as_str())) {
        let path = name.clone();
        problems.0.push(match elsewhere::explain(name, &names) {
            Some(message) => Problem { path, message, ..Problem::default() },
            None => Problem {
                path,
                message: "is not an option here".into(),
                did_you_mean: elsewhere::same(name, &names)
                    .or_else(|| nearest(name, names.iter().copied())),
                ..Problem::default()
            },
        });
    }
}

/// Reads one option; returns the default if it is absent. Called by the macro.
#[doc(hidden)]
pub fn field<T: OptionType>(
    map: &Map<String, Value>,
    path: &str,
    default: Option<T>,
    problems: &mut Problems,
) -> Option<T> {
    let value = map.get(path);
    if let Some(read) = value.and_then(T::read) {
        return Some(read);
    }
    if value.is_some() || default.is_none() {
        problems.0.push(unread(path, value, (T::KIND, value.and_then(T::problem_in))));
    }
    default
}

/// A required option that is absent, or a value that is not of the option's type, with what is
/// wrong `within` it. It is not generic
/// as `field` is: one copy of it for all types.
fn unread(
    path: &str,
    value: Option<&Value>,
    (kind, within): (ValueKind, Option<String>),
) -> Problem {
    if let Some(message) = within {
        return Problem { path: path.to_string(), message, ..Problem::default() };
    }
    Problem {
        path: path.to_string(),
        message: value.map_or_else(|| "is required".into(), |value| format!("got {}", show(value))),
        allowed: Some(kind.describe()),
        ..Problem::default()
    }
}

/// A value as the user would write it, truncated if it is long.
fn show(value: &Value) -> String {
    let special = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_string);
    if value.get("$tensor").is_some() {
        return "a tensor".into();
    }
    if value.get("$module").is_some() {
        return "a model".into();
    }
    // JSON has no NaN and no functions, so the TypeScript side passes their names
    let text = special("$value").unwrap_or_else(|| value.to_string());
    match text.char_indices().nth(60) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text,
    }
}
