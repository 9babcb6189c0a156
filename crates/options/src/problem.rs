//! Collects all problems of a set of options, to report them in one error.

use serde_json::{json, Value};
use std::fmt;

/// A problem with an option.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Problem {
    /// The path of the option, such as `heads` or `attn_layers.heads`.
    pub path: String,
    /// What is wrong, and what to do.
    pub message: String,
    /// The name that was probably intended.
    pub did_you_mean: Option<String>,
    /// A description of the allowed values.
    pub allowed: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)?;
        if let Some(name) = &self.did_you_mean {
            write!(f, "; did you mean `{name}`?")?;
        }
        if let Some(allowed) = &self.allowed {
            write!(f, "; allowed: {allowed}")?;
        }
        Ok(())
    }
}

/// The problems of one constructor or call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds a problem with the option at `path`.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { path: path.into(), message: message.into(), ..Problem::default() });
    }

    /// Adds the problem `message` unless `holds`.
    pub fn require(&mut self, holds: bool, path: &str, message: impl Into<String>) {
        if !holds {
            self.add(path, message);
        }
    }

    /// Prepends `parent` and a dot to every path.
    pub fn nested_under(mut self, parent: &str) -> Self {
        for problem in &mut self.0 {
            problem.path = format!("{parent}.{}", problem.path);
        }
        self
    }

    /// JSON for TypeScript: `[{ path, message, did_you_mean, allowed }]`.
    pub fn to_json(&self) -> Value {
        let row = |problem: &Problem| {
            let Problem { path, message, did_you_mean, allowed } = problem;
            json!({ "path": path, "message": message, "did_you_mean": did_you_mean, "allowed": allowed })
        };
        self.0.iter().map(row).collect()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The known name that was most likely intended by `name`, if one is similar enough.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    let spelled = known.iter().copied().find(|k| plain(k) == plain(name));
    let typed = || {
        known.iter().copied().find(|k| name.len() > 3 && strsim::damerau_levenshtein(name, k) == 1)
    };
    let begun = || {
        known
            .iter()
            .copied()
            .filter(|k| name.len() > 2 && k.starts_with(name))
            .min_by_key(|k| k.len())
    };
    // a missing prefix (`qk_norm`), or an extra one (`attn_heads`)
    let longer = || {
        known.iter().copied().filter(|k| k.ends_with(&format!("_{name}"))).min_by_key(|k| k.len())
    };
    let shorter = || {
        known.iter().copied().filter(|k| name.ends_with(&format!("_{k}"))).max_by_key(|k| k.len())
    };
    spelled
        .or_else(typed)
        .or_else(begun)
        .or_else(longer)
        .or_else(shorter)
        .or_else(|| most_alike(name, &known))
        .map(str::to_string)
}

/// Removes the differences between `num_tokens`, `numTokens` and `num-tokens`.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn most_alike<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let score = |k: &str| strsim::normalized_damerau_levenshtein(name, k);
    let best = known.iter().copied().max_by(|a, b| score(a).total_cmp(&score(b)))?;
    (score(best) >= 0.6).then_some(best)
}
