//! How much memory the process may still allocate, according to the system.

#[cfg(target_os = "linux")]
mod cgroup;
#[cfg(not(any(target_os = "linux", target_family = "wasm")))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod text;

#[cfg(not(any(target_os = "linux", target_family = "wasm")))]
pub(crate) use elsewhere::left;
#[cfg(target_os = "linux")]
pub(crate) use linux::{addresses_are_limited, left};

/// What the allocator knows about its own memory, in bytes.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "limits on some are Linux's alone"))]
pub(crate) struct AllocatorState {
    /// Allocated and not freed.
    pub in_use: u64,
    /// Freed, and kept for the next blocks.
    pub idle: u64,
    /// Reserved addresses that no block uses.
    pub addresses: u64,
}

/// What is left of `limit` when `used` bytes are taken, less a reserve. The reserve is for
/// allocations that are not checked in advance, mostly of the JavaScript engine, which ends the
/// process if an allocation fails.
fn left_of(limit: u64, used: u64, reserve: Reserve) -> u64 {
    limit.saturating_sub(used).saturating_sub(reserve.bytes(limit))
}

/// The reserve of a limit: one `part`-th of it, at least `least` and at most `most` bytes.
#[derive(Clone, Copy)]
struct Reserve {
    part: u64,
    least: u64,
    most: u64,
}

impl Reserve {
    /// The reserve of `limit`, in bytes.
    fn bytes(self, limit: u64) -> u64 {
        (limit / self.part).clamp(self.least, self.most)
    }
}

/// The reserve of memory limits.
const MEMORY_RESERVE: Reserve = Reserve { part: 32, least: 48 << 20, most: 256 << 20 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_each_limit_stays() {
        assert_eq!(left_of(1 << 30, 0, MEMORY_RESERVE), (1 << 30) - (48 << 20));
        assert_eq!(left_of(4 << 30, 1 << 30, MEMORY_RESERVE), (3 << 30) - (128 << 20));
        assert_eq!(left_of(64 << 30, 0, MEMORY_RESERVE), (64 << 30) - (256 << 20));
        assert_eq!(left_of(1 << 30, 1 << 30, MEMORY_RESERVE), 0);
        assert_eq!(left_of(0, 1 << 30, MEMORY_RESERVE), 0);
    }
}
