//! Memory limits of control groups (cgroups), versions 1 and 2: the limits of the group of the
//! process and of all its ancestors.

use super::text::with_text;
use super::{left_of, MEMORY_RESERVE};
use std::path::{Path, PathBuf};

/// A mount of a cgroup hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    /// The group at the root of the mount.
    group: PathBuf,
    /// The mount point.
    point: PathBuf,
    /// The cgroup version.
    version: Version,
}

/// The cgroup version of a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// Version 1: a hierarchy of its own for the memory controller.
    First,
    /// Version 2: one hierarchy for all controllers.
    Second,
}

/// Bytes that the groups of the process can still allocate; `u64::MAX` if there is no limit. File
/// caches do not count as used, because the system frees them first.
pub(super) fn left(root: &Path) -> u64 {
    let mounts = mounts(root);
    let groups = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let of_mount = |mount: &Mount| {
        group(&groups, mount.version)
            .map_or(u64::MAX, |group| left_in_ancestors(root, mount, group))
    };
    mounts.iter().map(of_mount).min().unwrap_or(u64::MAX)
}

/// The cgroup mounts. Those of the real root are read once, as mounts rarely change while a program
/// runs.
fn mounts(root: &Path) -> Vec<Mount> {
    use std::sync::OnceLock;
    static KNOWN: OnceLock<Vec<Mount>> = OnceLock::new();
    let read = || {
        parse_mounts(&std::fs::read_to_string(root.join("proc/self/mountinfo")).unwrap_or_default())
    };
    if root == Path::new("/") {
        KNOWN.get_or_init(read).clone()
    } else {
        read()
    }
}

/// Parses the lines of `mountinfo`: id, parent id, device, root, mount point, options and more,
/// `-`, type, source, options.
fn parse_mounts(text: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(3);
        let (group, point) = (unescaped(front.next()?), unescaped(front.next()?));
        let mut back = back.split(' ');
        let version = match (back.next()?, back.nth(1)) {
            ("cgroup2", _) => Version::Second,
            ("cgroup", Some(options)) if options.split(',').any(|option| option == "memory") => {
                Version::First
            }
            _ => return None,
        };
        Some(Mount { group: group.into(), point: point.into(), version })
    };
    text.lines().filter_map(mount).collect()
}

/// Decodes octal escapes, such as `\040` for a space.
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

/// The group of the process, from the lines `number:controllers:path` of its file `cgroup`.
fn group(text: &str, version: Version) -> Option<&str> {
    text.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let found = match version {
            Version::First => controllers.split(',').any(|controller| controller == "memory"),
            Version::Second => controllers.is_empty(),
        };
        found.then_some(path)
    })
}

/// The smallest number of bytes that a group and its ancestors can still allocate.
fn left_in_ancestors(root: &Path, mount: &Mount, group: &str) -> u64 {
    let top = root.join(mount.point.strip_prefix("/").unwrap_or(&mount.point));
    // a group outside of the mounted one, as seen in a cgroup namespace, is taken as the mounted
    // one
    let below = Path::new(group).strip_prefix(&mount.group).unwrap_or(Path::new(""));
    let below =
        if below.components().any(|part| part.as_os_str() == "..") { Path::new("") } else { below };
    let deepest = top.join(below);
    let levels = deepest.ancestors().take_while(|level| level.starts_with(&top));
    levels.map(|level| of_group(level, mount.version)).min().unwrap_or(u64::MAX)
}

/// Bytes that the group of this folder can still allocate; `u64::MAX` if there is no limit.
fn of_group(folder: &Path, version: Version) -> u64 {
    let number = |name: &str| with_text(&folder.join(name), |text| text.trim().parse::<u64>().ok());
    let (limits, usage): (&[&str], _) = match version {
        Version::First => (&["memory.limit_in_bytes"], "memory.usage_in_bytes"),
        Version::Second => (&["memory.max", "memory.high"], "memory.current"),
    };
    // version 1 has a large number where there is no limit, version 2 the word max
    let limit =
        limits.iter().filter_map(|name| number(name)).filter(|limit| *limit < 1 << 60).min();
    let (Some(limit), Some(usage)) = (limit, limit.and_then(|_| number(usage))) else {
        return u64::MAX;
    };
    let cached = with_text(&folder.join("memory.stat"), |text| Some(reclaimable(text, version)))
        .unwrap_or(0);
    left_of(limit, usage.saturating_sub(cached), MEMORY_RESERVE)
}

/// Bytes that the system frees when it needs memory: pages of files and its own caches.
fn reclaimable(stat: &str, version: Version) -> u64 {
    let names: &[&str] = match version {
        Version::First => &["total_inactive_file", "total_active_file"],
        Version::Second => &["inactive_file", "active_file", "slab_reclaimable"],
    };
    let value = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        names.contains(&name).then(|| value.trim().parse::<u64>().ok()).flatten()
    };
    stat.lines().filter_map(value).sum()
}

#[cfg(test)]
mod tests;
