use super::*;
use std::fs;

const MIB: u64 = 1 << 20;
const NONE: u64 = u64::MAX;

/// A folder with the files of a machine, removed in the end.
struct Files(PathBuf);

impl Files {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let root = std::env::temp_dir().join(format!("xt-cgroup-{name}-{}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(root)
    }

    fn left(&self) -> u64 {
        left(&self.0)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const SECOND: &str =
    "25 1 0:20 / / rw - ext4 /dev/sda rw\n30 25 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";

#[test]
fn the_least_of_all_groups_around_the_process_counts() {
    let files = Files::new(
        "nested",
        &[
            ("proc/self/mountinfo", SECOND),
            ("proc/self/cgroup", "0::/outer.slice/inner.scope\n"),
            ("sys/fs/cgroup/memory.stat", ""),
            ("sys/fs/cgroup/outer.slice/memory.max", "1073741824\n"),
            ("sys/fs/cgroup/outer.slice/memory.high", "536870912\n"),
            ("sys/fs/cgroup/outer.slice/memory.current", "209715200\n"),
            (
                "sys/fs/cgroup/outer.slice/memory.stat",
                "anon 1\nfile 99\ninactive_file 52428800\nactive_file 1048576\nslab_reclaimable 1048576\n",
            ),
            ("sys/fs/cgroup/outer.slice/inner.scope/memory.max", "max\n"),
            ("sys/fs/cgroup/outer.slice/inner.scope/memory.high", "max\n"),
            ("sys/fs/cgroup/outer.slice/inner.scope/memory.current", "104857600\n"),
        ],
    );
    // the outer one's soft limit, without what is in caches
    assert_eq!(files.left(), (512 - (200 - 52) - 48) * MIB);
    fs::write(files.0.join("sys/fs/cgroup/outer.slice/inner.scope/memory.max"), "209715200\n")
        .unwrap();
    assert_eq!(files.left(), (200 - 100 - 48) * MIB);
    fs::write(files.0.join("sys/fs/cgroup/outer.slice/inner.scope/memory.current"), "209715200\n")
        .unwrap();
    assert_eq!(files.left(), 0);
}

#[test]
fn groups_of_the_first_version_count_too() {
    let mounts = "31 24 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                  32 24 0:28 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n\
                  33 24 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    let files = Files::new(
        "first",
        &[
            ("proc/self/mountinfo", mounts),
            ("proc/self/cgroup", "4:memory:/docker/ab/job\n1:cpu:/\n0::/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "629145600\n"),
            (
                "sys/fs/cgroup/memory/memory.stat",
                "inactive_file 7\ntotal_inactive_file 104857600\ntotal_active_file 0\n",
            ),
            ("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "629145600\n"),
        ],
    );
    assert_eq!(files.left(), (1024 - 500 - 48) * MIB);
    // of another container's view: the group that is seen is the one
    fs::write(files.0.join("proc/self/cgroup"), "4:memory:/../else\n").unwrap();
    assert_eq!(files.left(), (1024 - 500 - 48) * MIB);
}

#[test]
fn where_nothing_is_said_there_is_no_limit() {
    assert_eq!(Files::new("empty", &[]).left(), NONE);
    let none = [
        ("proc/self/mountinfo", SECOND),
        ("proc/self/cgroup", "0::/a\n"),
        ("sys/fs/cgroup/a/memory.max", "max\n"),
    ];
    assert_eq!(Files::new("max", &none).left(), NONE);
    let damaged = [
        ("proc/self/mountinfo", "a b - c\n- -\n1 2 3 4 5 - cgroup2\n"),
        ("proc/self/cgroup", "0\n:\n0::/a\n"),
        ("5/a/memory.max", "no number\n"),
    ];
    assert_eq!(Files::new("damaged", &damaged).left(), NONE);
}

#[test]
fn places_with_blanks_are_read() {
    let mounts = parse_mounts("30 25 0:26 /a\\040b /sys/x\\134y rw - cgroup2 c rw\n");
    let want = Mount { group: "/a b".into(), point: "/sys/x\\y".into(), version: Version::Second };
    assert_eq!(mounts, [want]);
    assert_eq!(unescaped("a\\9"), "a\\9");
}
