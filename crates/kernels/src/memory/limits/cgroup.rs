//! Limits of control groups, of both versions: those of the process's group, and of all groups that
//! it is in.

use super::text::with_text;
use super::{left_of, OF_MEMORY};
use std::path::{Path, PathBuf};

/// Where groups are seen in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    /// The group that is seen there.
    group: PathBuf,
    place: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The controller of memory, as a tree of its own.
    First,
    /// One tree for all controllers.
    Second,
}

/// Bytes that the groups of the process can still give, without what is in caches of files: the
/// system frees those first.
pub(super) fn left(root: &Path) -> u64 {
    let mounts = mounts(root);
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let of_mount = |mount: &Mount| group(&groups, mount.kind).map_or(u64::MAX, |group| along(root, mount, group));
    mounts.iter().map(of_mount).min().unwrap_or(u64::MAX)
}

/// Mounts do not change while a program runs, as a rule.
fn mounts(root: &Path) -> Vec<Mount> {
    use std::sync::OnceLock;
    static KNOWN: OnceLock<Vec<Mount>> = OnceLock::new();
    let read = || parse_mounts(&std::fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default());
    if root == Path::new("/") {
        KNOWN.get_or_init(read).clone()
    } else {
        read()
    }
}

/// Lines of `mountinfo`: number, number, device, root, place, options and more, `-`, type, source,
/// options.
fn parse_mounts(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(3);
        let (group, place) = (unescaped(front.next()?), unescaped(front.next()?));
        let mut back = back.split(' ');
        let kind = match (back.next()?, back.nth(1)) {
            ("cgroup2", _) => Kind::Second,
            ("cgroup", Some(options)) if options.split(',').any(|option| option == "memory") => Kind::First,
            _ => return None,
        };
        Some(Mount { group: group.into(), place: place.into(), kind })
    };
    text.lines().filter_map(mount).collect()
}

/// Blanks and the like are written as `\040`.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_string();
    for part in parts {
        match part.get(..3).and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(code) => {
                plain.push(code.into());
                plain.push_str(&part[3..]);
            }
            None => {
                plain.push('\\');
                plain.push_str(part);
            }
        }
    }
    plain
}

/// The process's group: lines are number, controllers, path.
fn group(text: &str, kind: Kind) -> Option<&str> {
    text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let found = match kind {
            Kind::First => controllers.split(',').any(|controller| controller == "memory"),
            Kind::Second => controllers.is_empty(),
        };
        found.then_some(path)
    })
}

/// The least of what a group and those around it can still give.
fn along(root: &Path, mount: &Mount, group: &str) -> u64 {
    let top = root.join(mount.place.strip_prefix("/").unwrap_or(&mount.place));
    // within a namespace of its own, a group that is not below the one that is seen is seen as that
    // one
    let below = Path::new(group).strip_prefix(&mount.group).unwrap_or(Path::new(""));
    let below = if below.components().any(|part| part.as_os_str() == "..") { Path::new("") } else { below };
    let own = top.join(below);
    let levels = own.ancestors().take_while(|level| level.starts_with(&top));
    levels.map(|level| of_group(level, mount.kind)).min().unwrap_or(u64::MAX)
}

fn of_group(folder: &Path, kind: Kind) -> u64 {
    let number = |name: &str| with_text(&folder.join(name), |text| text.trim().parse::<u64>().ok());
    let (limits, usage): (&[&str], _) = match kind {
        Kind::First => (&["memory.limit_in_bytes"], "memory.usage_in_bytes"),
        Kind::Second => (&["memory.max", "memory.high"], "memory.current"),
    };
    // version 1 writes a large number where there is no limit, version 2 the word max
    let limit = limits.iter().filter_map(|name| number(name)).filter(|limit| *limit < 1 << 60).min();
    let (Some(limit), Some(usage)) = (limit, limit.and_then(|_| number(usage))) else {
        return u64::MAX;
    };
    let cached = with_text(&folder.join("memory.stat"), |text| Some(reclaimable(text, kind))).unwrap_or(0);
    left_of(limit, usage.saturating_sub(cached), OF_MEMORY)
}

/// What the system frees when it needs memory: pages of files, and caches of its own.
fn reclaimable(stat: &str, kind: Kind) -> u64 {
    let names: &[&str] = match kind {
        Kind::First => &["total_inactive_file", "total_active_file"],
        Kind::Second => &["inactive_file", "active_file", "slab_reclaimable"],
    };
    let value = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        names.contains(&name).then(|| value.trim().parse::<u64>().ok()).flatten()
    };
    stat.lines().filter_map(value).sum()
}

#[cfg(test)]
mod tests;
