//! Memory limits on Linux: the memory of the machine and of the control groups of the process, and
//! the resource limits of the process.

use super::text::with_text;
use super::{cgroup, left_of, AllocatorState, Reserve, MEMORY_RESERVE};
use std::path::Path;
use std::sync::OnceLock;

/// The reserve of address limits. A JavaScript engine reserves hundreds of megabytes of addresses
/// at a time for its code, threads and heap.
const ADDRESS_RESERVE: Reserve = Reserve { part: 16, least: 96 << 20, most: 256 << 20 };

/// Bytes that can still be allocated.
pub(crate) fn left(state: AllocatorState) -> u64 {
    let root = Path::new("/");
    let process = Process::read(root).unwrap_or_default();
    let memory = machine(root).min(cgroup::left(root));
    let addresses = rlimit(Limit::Addresses)
        .map_or(u64::MAX, |limit| left_of(limit, process.size, ADDRESS_RESERVE));
    let data =
        rlimit(Limit::Data).map_or(u64::MAX, |limit| left_of(limit, process.data, ADDRESS_RESERVE));
    least(state, process, memory, addresses.min(data))
}

/// The smaller of the available memory and the available addresses, both in bytes.
fn least(state: AllocatorState, process: Process, memory: u64, addresses: u64) -> u64 {
    // allocated but not yet written: the system counts this memory only when it is written
    let untouched = state.in_use.saturating_sub(process.anonymous.saturating_sub(state.idle));
    memory
        .saturating_add(state.idle)
        .saturating_sub(untouched)
        .min(addresses.saturating_add(state.addresses))
}

/// Whether the process has a limit on addresses, used or not, that is too low to reserve `reserved`
/// bytes.
pub(crate) fn addresses_are_limited(reserved: u64) -> bool {
    [Limit::Addresses, Limit::Data].into_iter().filter_map(rlimit).any(|limit| limit / 4 < reserved)
}

/// A resource limit of the process.
#[derive(Clone, Copy)]
enum Limit {
    /// All addresses (RLIMIT_AS).
    Addresses,
    /// Private writable addresses (RLIMIT_DATA).
    Data,
}

/// The value of a resource limit in bytes; `None` if there is none.
fn rlimit(which: Limit) -> Option<u64> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes only to the structure.
    let done = unsafe {
        match which {
            Limit::Addresses => libc::getrlimit64(libc::RLIMIT_AS, &mut limit),
            Limit::Data => libc::getrlimit64(libc::RLIMIT_DATA, &mut limit),
        }
    };
    (done == 0 && limit.rlim_cur != libc::RLIM64_INFINITY).then_some(limit.rlim_cur)
}

/// Memory of the process, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Process {
    /// Size of the address space in use.
    size: u64,
    /// Memory without a file behind it, in swap too.
    anonymous: u64,
    /// Private writable addresses.
    data: u64,
}

impl Process {
    /// Reads the file `status` of the process.
    fn read(root: &Path) -> Option<Self> {
        with_text(&root.join("proc/self/status"), Self::parse)
    }

    /// Parses the file `status` of the process.
    fn parse(text: &str) -> Option<Self> {
        let resident = kibibytes(text, "RssAnon").or_else(|| kibibytes(text, "VmRSS"))?;
        let anonymous = resident + kibibytes(text, "VmSwap").unwrap_or(0);
        Some(Self { size: kibibytes(text, "VmSize")?, anonymous, data: kibibytes(text, "VmData")? })
    }
}

/// The bytes in the line `name: number kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1 << 10)
}

/// Bytes that the machine has available.
fn machine(root: &Path) -> u64 {
    static STRICT: OnceLock<bool> = OnceLock::new();
    let strict = *STRICT.get_or_init(|| commits_are_limited(root));
    with_text(&root.join("proc/meminfo"), |text| meminfo(text, strict)).unwrap_or(u64::MAX)
}

/// Whether the system limits allocations to what memory and swap can back.
fn commits_are_limited(root: &Path) -> bool {
    let mode = root.join("proc/sys/vm/overcommit_memory");
    with_text(&mode, |text| Some(text.trim() == "2")).unwrap_or(false)
}

/// Parses `/proc/meminfo`. `strict` says whether the commit limit applies.
fn meminfo(text: &str, strict: bool) -> Option<u64> {
    let value = |name| kibibytes(text, name);
    let total = value("MemTotal")?;
    // kernels before 3.14 do not have MemAvailable
    let available = value("MemAvailable").or_else(|| Some(value("MemFree")? + value("Cached")?))?;
    let available = available + value("SwapFree").unwrap_or(0);
    let left = available.saturating_sub(MEMORY_RESERVE.bytes(total));
    match (value("CommitLimit"), value("Committed_AS")) {
        (Some(limit), Some(used)) if strict => Some(left.min(left_of(limit, used, MEMORY_RESERVE))),
        _ => Some(left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const INFO: &str = "MemTotal:        4194304 kB\nMemFree:          102400 kB\nMemAvailable:    2097152 kB\nCached:            \
                        1024 kB\nSwapFree:              0 kB\nCommitLimit:     2097152 kB\nCommitted_AS:     1048576 kB\n";

    #[test]
    fn of_the_machine_counts_what_is_available_and_swap() {
        assert_eq!(meminfo(INFO, false), Some((2048 - 128) * MIB));
        let swap = INFO.replace("SwapFree:              0", "SwapFree:        1048576");
        assert_eq!(meminfo(&swap, false), Some((3072 - 128) * MIB));
        let more = INFO.replace("SwapFree:              0", "SwapFree:        8388608");
        assert_eq!(meminfo(&more, false), Some((10240 - 128) * MIB));
        assert_eq!(meminfo(INFO, true), Some((1024 - 64) * MIB));
        let old = INFO.replace("MemAvailable", "Other");
        assert_eq!(meminfo(&old, false), Some(0));
        assert_eq!(meminfo("", false), None);
    }

    #[test]
    fn of_the_process_counts_what_was_swapped_out() {
        let text = "Name:\tnode\nVmSize:\t  1000 kB\nVmRSS:\t   500 kB\nRssAnon:\t   300 kB\nVmData:\t   700 kB\nVmSwap:\t    50 kB\n";
        let process = Process { size: 1000 << 10, anonymous: 350 << 10, data: 700 << 10 };
        assert_eq!(Process::parse(text), Some(process));
        assert_eq!(
            Process::parse(&text.replace("RssAnon", "Other")).map(|process| process.anonymous),
            Some(550 << 10)
        );
        assert_eq!(Process::parse("Name:\tnode\n"), None);
    }

    #[test]
    fn what_was_given_out_and_not_written_is_not_there_and_what_is_kept_is() {
        let process = Process { size: 0, anonymous: 300, data: 0 };
        let state = |in_use, idle| AllocatorState { in_use, idle, addresses: 50 };
        assert_eq!(least(state(300, 0), process, 1000, u64::MAX), 1000);
        assert_eq!(least(state(700, 0), process, 1000, u64::MAX), 600);
        assert_eq!(least(state(200, 100), process, 1000, u64::MAX), 1100);
        assert_eq!(least(state(300, 100), process, 1000, u64::MAX), 1000);
        assert_eq!(least(state(5000, 0), process, 1000, u64::MAX), 0);
        assert_eq!(least(state(0, 0), process, 1000, 70), 120);
    }

    #[test]
    fn this_machine_says_something() {
        let left = left(AllocatorState::default());
        assert!(left > MIB && left < 1 << 46, "{left}");
        assert!(Process::read(Path::new("/")).unwrap().size > MIB);
    }
}
