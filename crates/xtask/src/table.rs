//! The option tables in docs/options.md, one for each class.

use crate::typescript::{literal, type_of};
use xt_options::{sets, Named, Spec};

pub const START: &str = "<!-- options:start -->";
pub const END: &str = "<!-- options:end -->";

/// A group of more options than this is listed once; later tables point there.
const LARGE: usize = 10;

/// `page` with new tables between the two marks; `None` where it does not have both.
pub fn splice(page: &str) -> Option<String> {
    let (before, rest) = page.split_once(START)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{START}\n\n{}{END}{after}", tables()))
}

fn tables() -> String {
    let mut listed = vec![];
    let mut tables = String::new();
    for set in sets::all() {
        let Some(heading) = set.heading else { continue };
        let options = set.options();
        let mut writer = Writer {
            heading,
            names: options.iter().map(|o| o.name.as_str()).collect(),
            listed: &mut listed,
        };
        let mut rows = vec![];
        writer.rows(&set.spec, "", &mut rows);
        rows.retain(|row| !set.positional.contains(&row.name.as_str()));
        rows.sort_by_key(|row| !row.required);
        let rows: String = rows.iter().map(|row| row.line.as_str()).collect();
        tables += &format!("<details>\n<summary><b>{heading}</b></summary>\n\n");
        tables +=
            &format!("| option | type | default | what it does |\n| --- | --- | --- | --- |\n{rows}\n</details>\n\n");
    }
    tables
}

/// A group of options that a table lists in full.
struct Listed {
    /// Tells groups apart, with `per_layer`.
    doc: &'static [&'static str],
    /// Whether the options take one value for each layer too.
    per_layer: bool,
    heading: &'static str,
    prefix: String,
}

struct Row {
    name: String,
    required: bool,
    line: String,
}

struct Writer<'a> {
    heading: &'static str,
    names: Vec<&'a str>,
    listed: &'a mut Vec<Listed>,
}

impl Writer<'_> {
    fn rows(&mut self, spec: &Spec, prefix: &str, rows: &mut Vec<Row>) {
        rows.extend(spec.own(prefix).into_iter().map(|option| self.row(option)));
        for group in spec.groups {
            let prefix = format!("{prefix}{}", group.prefix);
            let (doc, per_layer) = (group.spec.doc, group.spec.per_layer);
            let same = |listed: &&Listed| listed.doc == doc && listed.per_layer == per_layer;
            if let Some(listed) = self.listed.iter().find(same) {
                rows.push(reference(group.spec, &prefix, listed));
                continue;
            }
            if group.spec.fields.len() > LARGE {
                self.listed.push(Listed {
                    doc,
                    per_layer,
                    heading: self.heading,
                    prefix: prefix.clone(),
                });
            }
            self.rows(group.spec, &prefix, rows);
        }
    }

    fn row(&self, option: Named) -> Row {
        let mut text = option.text(&self.names);
        for link in option.links() {
            text = format!("{text} [Paper]({link}).");
        }
        let default = option
            .field
            .default
            .map_or("required".into(), |default| format!("`{}`", literal(&default())));
        // a table's cell ends at a bar, also in code
        let kind = type_of(&option.kind).replace('|', "\\|");
        let line = format!(
            "| `{}` | `{kind}` | {default} | {} |\n",
            option.name,
            text.replace('|', "\\|")
        );
        Row { required: option.field.default.is_none(), name: option.name, line }
    }
}

/// The row that stands for a group which an earlier table lists.
fn reference(spec: &Spec, prefix: &str, listed: &Listed) -> Row {
    let names = spec.flatten();
    let (first, last) = (
        names.first().map_or("", |n| n.name.as_str()),
        names.last().map_or("", |n| n.name.as_str()),
    );
    let Listed { heading, prefix: there, .. } = listed;
    let line = format!(
        "| `{prefix}{first}` ... `{prefix}{last}` | | | As `{there}{first}` to `{there}{last}` of {heading}. |\n"
    );
    Row { name: format!("{prefix}{first}"), required: false, line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splice_replaces_what_is_between_the_marks_and_nothing_else() {
        let page = format!("# Title\n\n{START}\nas it was\n{END}\n\nrest\n");
        let new = splice(&page).unwrap();
        assert!(
            new.starts_with("# Title\n\n")
                && new.ends_with("\n\nrest\n")
                && !new.contains("as it was")
        );
        assert_eq!(splice(&new).unwrap(), new);
    }

    #[test]
    fn splice_needs_both_marks() {
        assert_eq!(splice("# Title\n"), None);
        assert_eq!(splice(&format!("{START}\n")), None);
    }

    #[test]
    fn every_row_has_four_cells() {
        let tables = tables();
        for row in tables.lines().filter(|line| line.starts_with('|')) {
            assert_eq!(row.replace("\\|", "").matches('|').count(), 5, "{row}");
        }
    }

    #[test]
    fn a_large_group_is_listed_once() {
        let tables = tables();
        assert_eq!(tables.matches("| `attn_talking_heads` |").count(), 1);
        assert!(tables.contains("| `enc_depth` ... `enc_ff_zero_init_output` |"));
        assert!(tables.contains("| `dec_num_tokens` |"));
    }
}
