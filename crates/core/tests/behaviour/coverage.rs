//! Every option is covered: by a recorded case that sets it to a value other than its default, or
//! by a property test named after it.
//!
//! A test covers the options whose names are in its own name as whole words:
//! `tie_embedding_uses_the_token_embedding_as_the_head` covers `tie_embedding`. Options of either
//! half of `XTransformer` count without the prefix `enc_` or `dec_`; options of the class
//! `Attention` also count with the prefix `attn_` that layers use, those of `FeedForward` with
//! `ff_`. Recorded training runs count for optimizers. The options of schedules, which TypeScript
//! computes, are covered by the cases of that schedule in `test/api/schedules.json` alone.

use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use xt_options::{sets, Named};

/// The values that cases give to each name.
type Given = BTreeMap<String, Vec<Json>>;

/// The values that recorded cases give to each name.
fn recorded() -> Given {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/golden");
    let mut given = BTreeMap::new();
    for file in files(&folder, "json") {
        collect(
            &serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap(),
            &mut given,
        );
    }
    given
}

fn collect(json: &Json, given: &mut Given) {
    match json {
        Json::Object(map) => {
            for (key, value) in map {
                if let (true, Json::Object(named)) =
                    (["kwargs", "optimizer"].contains(&key.as_str()), value)
                {
                    named.iter().for_each(|(name, v)| {
                        given.entry(name.clone()).or_default().push(v.clone())
                    });
                }
                collect(value, given);
            }
        }
        Json::Array(list) => list.iter().for_each(|value| collect(value, given)),
        _ => {}
    }
}

/// The values that the cases of each schedule give to its options, by its set of options.
fn schedules() -> BTreeMap<String, Given> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test/api/schedules.json");
    let cases: Vec<Json> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut schedules: BTreeMap<String, Given> = BTreeMap::new();
    for case in cases {
        let name = case["schedule"].as_str().unwrap();
        let (first, rest) = name.split_at(1);
        let interface = format!("{}{rest}Options", first.to_uppercase());
        let given = schedules.entry(interface).or_default();
        for (option, value) in case["options"].as_object().unwrap() {
            given.entry(option.clone()).or_default().push(value.clone());
        }
    }
    schedules
}

/// The names of all tests in these sources, with `_` on both sides.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"), "rs") {
        let source = std::fs::read_to_string(file).unwrap();
        let mut lines = source.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if line == "#[test]" {
                let name = lines
                    .next()
                    .and_then(|l| l.strip_prefix("fn "))
                    .and_then(|l| l.split('(').next());
                names.insert(format!("_{}_", name.expect("a test's name follows its mark")));
            }
        }
    }
    names
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    let inside = entries.iter().filter(|p| p.is_dir()).flat_map(|p| files(p, extension));
    inside
        .chain(entries.iter().filter(|p| p.extension().is_some_and(|e| e == extension)).cloned())
        .collect()
}

/// All names of an option.
fn aliases(interface: &str, name: &str) -> Vec<String> {
    let bare = ["enc_", "dec_"].iter().find_map(|half| name.strip_prefix(half)).unwrap_or(name);
    let halves = ["enc_", "dec_"].map(|half| format!("{half}{bare}"));
    let own = interface.starts_with("Attention").then(|| format!("attn_{name}"));
    let block = interface.starts_with("FeedForward").then(|| format!("ff_{name}"));
    [name.to_string(), bare.to_string()].into_iter().chain(halves).chain(own).chain(block).collect()
}

/// Whether a value differs from the default; any value of a required option does.
fn is_set(option: &Named, value: &Json) -> bool {
    option.field.default.is_none_or(|default| {
        let default = default();
        match (default.as_f64(), value.as_f64()) {
            (Some(a), Some(b)) => a != b,
            _ => default != *value,
        }
    })
}

fn uncovered(cases: &Given, tests: &BTreeSet<String>) -> BTreeSet<String> {
    let mut missing = BTreeSet::new();
    let (schedules, none) = (schedules(), BTreeSet::new());
    for set in sets::all() {
        let (cases, tests) = match schedules.get(set.interface) {
            Some(own) => (own, &none),
            None => (cases, tests),
        };
        for option in set.spec.flatten() {
            let names = aliases(set.interface, &option.name);
            let recorded = |name: &String| {
                cases.get(name).is_some_and(|all| all.iter().any(|v| is_set(&option, v)))
            };
            let named =
                |name: &String| tests.iter().any(|test| test.contains(&format!("_{name}_")));
            if !names.iter().any(|name| recorded(name) || named(name)) {
                missing.insert(format!("{} of {}", option.name, set.interface));
            }
        }
    }
    missing
}

#[test]
fn every_option_has_a_recorded_case_or_a_test_named_after_it() {
    let missing = uncovered(&recorded(), &tests());
    let list: Vec<String> = missing.into_iter().collect();
    assert!(list.is_empty(), "no case and no test for\n{}", list.join("\n"));
}

#[test]
fn an_option_without_a_case_or_a_test_is_reported() {
    let (mut cases, mut tests) = (recorded(), tests());
    cases.remove("attn_on_attn");
    // the default value does not count
    cases.insert("macaron".into(), vec![Json::Bool(false)]);
    tests.retain(|name| !name.contains("_tie_embedding_"));
    let missing = uncovered(&cases, &tests);
    for name in [
        "attn_on_attn of DecoderOptions",
        "macaron of EncoderOptions",
        "tie_embedding of TransformerWrapperOptions",
    ] {
        assert!(missing.contains(name), "{name}");
    }
}

#[test]
fn every_schedule_has_cases() {
    let functions = ["Constant", "LinearWarmup", "CosineWarmup", "LinearDecay", "InverseSqrt"];
    let want = functions.into_iter().chain(["WarmupStableDecay"]);
    let want: BTreeSet<String> = want.map(|name| format!("{name}Options")).collect();
    assert_eq!(schedules().into_keys().collect::<BTreeSet<_>>(), want);
    assert!(want.iter().all(|name| sets::all().iter().any(|set| set.interface == name)));
}
