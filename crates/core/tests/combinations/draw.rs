//! Drawing options, and making combinations valid.

use crate::choices::Choice;
use crate::device::device;
use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::test_runner::{Config, RngSeed};
use serde_json::{Map, Value as Json};
use std::sync::Arc;
use xt_core::{Error, Model};

pub type Options = Map<String, Json>;

/// The same cases in every run, unless environment variables ask for others: a quarter of `cases`,
/// and all of them where slow tests run (`XT_SLOW=1`, as in `npm run release:check -- slow`).
pub fn config(cases: u32) -> Config {
    let slow = std::env::var("XT_SLOW").is_ok_and(|value| value == "1");
    let cases = if slow { cases } else { cases / 4 };
    let fixed = Config { cases, rng_seed: RngSeed::Fixed(42), ..Config::default() };
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    Config {
        cases: given("PROPTEST_CASES").map_or(cases, |n| n as u32),
        rng_seed: given("PROPTEST_RNG_SEED").map_or(fixed.rng_seed, RngSeed::Fixed),
        failure_persistence: None,
        max_shrink_iters: 400,
        ..fixed
    }
}

/// Up to `most` of the choices; of two values for one option the later one is used.
pub fn some(choices: Vec<Choice>, most: usize) -> impl Strategy<Value = Options> {
    let most = most.min(choices.len());
    subsequence(choices, 0..=most).prop_map(|chosen| chosen.into_iter().collect())
}

/// Builds the model of `spec`. While options are incompatible, removes those that the error names.
/// Any other error is a failure.
pub fn legal(spec: &mut Json) -> Arc<Model> {
    for _ in 0..40 {
        match Model::from_spec(spec, 1) {
            Ok(model) => {
                model.move_to(&device()).unwrap();
                return model;
            }
            Err(Error::Options { class, problems }) => {
                let text = spec.to_string();
                let options = options_of(spec, &class)
                    .unwrap_or_else(|| panic!("there is no {class} in {text}"));
                for problem in problems.0 {
                    assert!(
                        is_option(&class, &problem.path),
                        "{text}: {class} has no `{}`",
                        problem.path
                    );
                    if options.remove(&problem.path).is_none()
                        && !text.contains(&format!("\"{}\"", problem.path))
                    {
                        // the error names another option that implies this one
                        let named =
                            problem.message.split('`').find(|word| options.contains_key(*word));
                        let named = named
                            .unwrap_or_else(|| panic!("{text}: no option to blame in {problem}"))
                            .to_string();
                        options.remove(&named);
                    }
                }
            }
            Err(other) => panic!("{spec}: {other}"),
        }
    }
    panic!("no legal options are left of {spec}");
}

/// The options of the model of class `class` in `spec`, at any depth.
fn options_of<'a>(spec: &'a mut Json, class: &str) -> Option<&'a mut Options> {
    if spec["class"] == class {
        return spec["options"].as_object_mut();
    }
    spec["options"].as_object_mut()?.values_mut().find_map(|inner| match inner.get("class") {
        Some(_) => options_of(inner, class),
        None => None,
    })
}

fn is_option(class: &str, name: &str) -> bool {
    xt_options::sets::find(class)
        .is_some_and(|set| set.spec.flatten().iter().any(|option| option.name == name))
}
