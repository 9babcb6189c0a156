//! The description of an option: name, type, default and documentation. The validator, the
//! TypeScript interfaces and the tables of docs/options.md are made from it.

use serde_json::Value;

/// The options of one class or call.
pub struct Spec {
    /// Lines of the documentation.
    pub doc: &'static [&'static str],
    /// Its own options, in order.
    pub fields: &'static [Field],
    /// The included groups of options.
    pub groups: &'static [Group],
    /// Whether its own options take one value for each layer too.
    pub per_layer: bool,
}

/// One option.
pub struct Field {
    /// The name without a prefix.
    pub name: &'static str,
    /// Lines of the documentation.
    pub doc: &'static [&'static str],
    /// The type of its values.
    pub kind: ValueKind,
    /// The default; `None` if the option is required.
    pub default: Option<fn() -> Value>,
}

/// Options of another struct, included with a prefix before their names (`attn_`, `enc_`, or none).
pub struct Group {
    /// The prefix of the names.
    pub prefix: &'static str,
    /// The included options.
    pub spec: &'static Spec,
}

/// The type of an option's values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueKind {
    /// True or false.
    Bool,
    /// An integer, at least `min`.
    Integer {
        /// The minimum.
        min: i64,
    },
    /// A number.
    Number,
    /// A non-negative number.
    NonNegative,
    /// A number from 0 to 1.
    Probability,
    /// One of these strings.
    Text(&'static [&'static str]),
    /// The inner kind, or `null`.
    Optional(&'static ValueKind),
    /// An array of values of one type.
    List(&'static ValueKind),
    /// The inner kind, or a list of it.
    OneOrMany(&'static ValueKind),
    /// An object whose values are of one type, under names that the caller chooses.
    ByName(&'static ValueKind),
    /// A tensor of these elements.
    Tensor(Elements),
    /// A model of one of these classes.
    Module(&'static [&'static str]),
    /// An object of the options of this TypeScript interface.
    Record(&'static str),
    /// The name of a logit filter; in TypeScript also a function.
    Filter(&'static [&'static str]),
}

/// The elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elements {
    /// Numbers.
    Numbers,
    /// Token ids or positions.
    Ids,
    /// Booleans of a mask.
    Truths,
}

impl ValueKind {
    /// A description of the allowed values, such as `a whole number >= 1`.
    pub fn describe(&self) -> String {
        match self {
            ValueKind::Bool => "true or false".into(),
            ValueKind::Integer { min } if *min == i64::MIN => "a whole number".into(),
            ValueKind::Integer { min } => format!("a whole number >= {min}"),
            ValueKind::Number => "a finite number".into(),
            ValueKind::NonNegative => "a number from 0".into(),
            ValueKind::Probability => "a number from 0 to 1".into(),
            ValueKind::Text(names) => quoted(names),
            ValueKind::Filter(names) => format!("{} or a function of the logits", quoted(names)),
            ValueKind::Optional(inner) => format!("{} or null", inner.describe()),
            ValueKind::List(inner) => format!("an array, each {}", inner.describe()),
            ValueKind::OneOrMany(inner) => format!("{0}, or an array of such", inner.describe()),
            ValueKind::ByName(inner) => format!("an object, by each name {}", inner.describe()),
            ValueKind::Tensor(Elements::Numbers) => "a tensor".into(),
            ValueKind::Tensor(Elements::Ids) => "a tensor, or whole numbers as an array".into(),
            ValueKind::Tensor(Elements::Truths) => "a tensor, or booleans as an array".into(),
            ValueKind::Module(classes) => classes.join(" or "),
            ValueKind::Record(interface) => format!("an object of the options {interface}"),
        }
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(" or ")
}

/// An option under its full name, including prefixes.
pub struct Named {
    /// The name with its prefix.
    pub name: String,
    /// The declaration.
    pub field: &'static Field,
    /// The type of its values, one for each layer included where that is allowed.
    pub kind: ValueKind,
}

impl Named {
    /// The documentation without paper addresses. Names of other options in it are replaced by
    /// their full names; `names` are all option names of the class. For example, in
    /// `enc_attn_qk_norm_groups`, `qk_norm` becomes `enc_attn_qk_norm`.
    pub fn text(&self, names: &[&str]) -> String {
        let prefix = self.name.strip_suffix(self.field.name).unwrap_or_default();
        let (text, _) = split_links(self.field.doc);
        let parts = text.split('`').enumerate().map(|(i, part)| match i % 2 {
            1 => format!("`{}`", full_name(part, prefix, names)),
            _ => part.to_string(),
        });
        parts.collect()
    }

    /// The paper addresses in the documentation.
    pub fn links(&self) -> Vec<String> {
        split_links(self.field.doc).1
    }
}

/// `word` after as much of `prefix` as is needed to give one of `names`, or `word` itself if none
/// matches.
fn full_name(word: &str, prefix: &str, names: &[&str]) -> String {
    let mut prefix = prefix;
    while !prefix.is_empty() {
        let name = format!("{prefix}{word}");
        if names.contains(&name.as_str()) {
            return name;
        }
        let shorter = prefix.trim_end_matches('_').rfind('_').map_or(0, |end| end + 1);
        prefix = &prefix[..shorter];
    }
    word.to_string()
}

/// Joins lines of documentation. Returns the text without `<https://...>` addresses, and the
/// addresses.
pub fn split_links(doc: &[&str]) -> (String, Vec<String>) {
    let joined = doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    let mut parts = joined.split("<https://");
    let mut text = parts.next().unwrap_or_default().to_string();
    let mut links = vec![];
    for part in parts {
        let (link, rest) = part.split_once('>').unwrap_or((part, ""));
        links.push(format!("https://{link}"));
        // removes the parentheses around a link too
        match (text.strip_suffix('('), rest.strip_prefix(')')) {
            (Some(before), Some(after)) => text = format!("{}{after}", before.trim_end()),
            _ => text = format!("{}{rest}", text.trim_end()),
        }
    }
    (text.trim().to_string(), links)
}

impl Field {
    /// Whether an array is one value of this option, rather than one for each layer.
    pub fn takes_arrays(&self) -> bool {
        let kind = match self.kind {
            ValueKind::Optional(inner) => *inner,
            kind => kind,
        };
        matches!(kind, ValueKind::List(_) | ValueKind::OneOrMany(_))
    }
}

impl Spec {
    /// Its own options, with this before their names.
    pub fn own(&self, prefix: &str) -> Vec<Named> {
        let named = |field: &'static Field| Named {
            name: format!("{prefix}{}", field.name),
            field,
            kind: match self.per_layer && !field.takes_arrays() {
                true => ValueKind::OneOrMany(&field.kind),
                false => field.kind,
            },
        };
        self.fields.iter().map(named).collect()
    }

    /// All options under their full names: first its own, then those of the groups.
    pub fn flatten(&self) -> Vec<Named> {
        let grouped = self.groups.iter().flat_map(|group| {
            let full = |n: Named| Named { name: format!("{}{}", group.prefix, n.name), ..n };
            group.spec.flatten().into_iter().map(full)
        });
        self.own("").into_iter().chain(grouped).collect()
    }
}
