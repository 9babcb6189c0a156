//! Options that the TypeScript layer itself reads: those of optimizers, schedules and filters.

use crate::{parse, Error, Result};
use serde_json::Value as Json;
use xt_options::sets::{self, OptionSet};
use xt_options::Problems;

fn set(name: &str) -> Result<OptionSet> {
    sets::find(name)
        .ok_or_else(|| Error::Internal(format!("there are no options of the name {name}")))
}

fn wrong(name: &str) -> impl Fn(Problems) -> Error + '_ {
    move |problems| Error::Options { class: name.into(), problems }
}

/// Checks the options, a JSON object, of the class, call or function `name`, and fills in defaults.
pub fn resolve_options(name: &str, options: &str) -> Result<String> {
    Ok(set(name)?.resolve(&parse(options)?).map_err(wrong(name))?.to_string())
}

/// The settings of each parameter group as a JSON array: those of the group, `groups` being a JSON
/// array, then the common ones, then defaults.
pub fn resolve_groups(name: &str, common: &str, groups: &str) -> Result<String> {
    let groups: Vec<Json> = parse(groups)?;
    let settings = set(name)?.resolve_groups(&parse(common)?, &groups).map_err(wrong(name))?;
    Ok(Json::Array(settings).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_stand_under_the_name() {
        let error = resolve_options("top_k", r#"{"thres":2,"k":1}"#).unwrap_err();
        assert_eq!(error.code(), "invalid_options");
        assert!(error.to_string().starts_with("top_k:\n"), "{error}");
        let error = resolve_groups("SGD", "{}", r#"[{},{"lr":-1}]"#).unwrap_err();
        assert!(error.to_string().contains("param_groups[1].lr: got -1"), "{error}");
    }

    #[test]
    fn a_name_that_nobody_declares_is_an_error() {
        assert_eq!(resolve_options("nothing", "{}").unwrap_err().code(), "internal");
    }
}
