//! Options of a block that may have one value for each of its kind in a stack.

use crate::spec::Field;
use crate::{Options, Problem, Problems, Spec};
use serde_json::{Map, Value};

/// The options of the blocks of one kind: the same for all, or those of each.
#[derive(Clone, Debug, PartialEq)]
pub struct PerLayer<T> {
    first: T,
    /// Those of the blocks after the first; `None` if all have the same.
    others: Option<Vec<T>>,
    /// An option that is an array, if there is one.
    array: Option<&'static str>,
}

impl<T> PerLayer<T> {
    /// The options of the first block.
    pub fn first(&self) -> &T {
        &self.first
    }

    /// The options of block number `number` of its kind; past the end those of the last.
    pub fn at(&self, number: usize) -> &T {
        let others = self.others.as_deref().unwrap_or_default();
        match number {
            0 => &self.first,
            _ => others.get(number - 1).or(others.last()).unwrap_or(&self.first),
        }
    }

    /// The number of blocks that the arrays are for; `None` without arrays.
    pub fn count(&self) -> Option<usize> {
        self.others.as_ref().map(|others| others.len() + 1)
    }

    /// The name, without its prefix, of an option that is an array.
    pub fn array(&self) -> Option<&'static str> {
        self.array
    }

    /// The different options.
    pub fn each(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.first).chain(self.others.iter().flatten())
    }
}

/// The arrays in `map` that have a value for each block, by name.
fn arrays<'a>(
    map: &'a Map<String, Value>,
    prefix: &str,
    spec: &Spec,
) -> Vec<(&'static str, &'a [Value])> {
    let of = |field: &'static Field| {
        let list = map.get(&format!("{prefix}{}", field.name))?.as_array()?;
        (!field.takes_arrays()).then_some((field.name, list.as_slice()))
    };
    spec.fields.iter().filter_map(of).collect()
}

/// Adds those of `more` that are not in `problems` yet.
fn add_new(problems: &mut Problems, more: Problems) {
    for problem in more.0 {
        if !problems.0.contains(&problem) {
            problems.0.push(problem);
        }
    }
}

impl<T: Options> Options for PerLayer<T> {
    const SPEC: Spec = Spec { per_layer: true, ..T::SPEC };

    fn read(map: &Map<String, Value>, prefix: &str, problems: &mut Problems) -> Option<Self> {
        let arrays = arrays(map, prefix, &T::SPEC);
        let Some((longest, list)) = arrays.iter().max_by_key(|(_, list)| list.len()) else {
            return Some(Self {
                first: T::read(map, prefix, problems)?,
                others: None,
                array: None,
            });
        };
        let length = list.len();
        let wrong = arrays.iter().filter_map(|(name, list)| {
            let message = match list.len() {
                0 => "must not be empty".to_string(),
                count if count == length => return None,
                count => format!("has {count} entries, but `{prefix}{longest}` has {length}"),
            };
            Some(Problem { path: format!("{prefix}{name}"), message, ..Problem::default() })
        });
        let wrong: Vec<Problem> = wrong.collect();
        if !wrong.is_empty() {
            problems.0.extend(wrong);
            return None;
        }
        let mut all = Vec::with_capacity(length);
        for index in 0..length {
            let mut one = map.clone();
            for (name, list) in &arrays {
                one.insert(format!("{prefix}{name}"), list.get(index).cloned().unwrap_or_default());
            }
            let mut own = Problems::default();
            all.push(T::read(&one, prefix, &mut own));
            add_new(problems, own);
        }
        let mut all = all.into_iter();
        let (first, others) = (all.next()??, all.collect::<Option<_>>()?);
        Some(Self { first, others: Some(others), array: Some(*longest) })
    }

    fn write(&self, prefix: &str, map: &mut Map<String, Value>) {
        let written = |options: &T| {
            let mut map = Map::new();
            options.write(prefix, &mut map);
            map
        };
        let all: Vec<_> = self.each().map(written).collect();
        let Some(first) = all.first() else { return };
        for (name, value) in first {
            let same = all.iter().all(|other| other.get(name) == Some(value));
            let each = || all.iter().map(|one| one.get(name).cloned().unwrap_or_default());
            map.insert(name.clone(), if same { value.clone() } else { each().collect() });
        }
    }

    fn check(&self, prefix: &str, problems: &mut Problems) {
        for options in self.each() {
            let mut own = Problems::default();
            options.check(prefix, &mut own);
            add_new(problems, own);
        }
    }
}
