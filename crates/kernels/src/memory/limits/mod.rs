//! How much memory the process may still have, as the system says.

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

/// What the allocator knows of its own memory, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Own {
    /// Given out and not freed.
    pub in_use: u64,
    /// Memory that was freed and is kept for the next blocks.
    pub idle: u64,
    /// Addresses that are reserved, and in which nothing is in use.
    pub addresses: u64,
}

/// What is left of `limit` where `used` are taken. A part stays for what allocates without asking:
/// the JavaScript engine above all, which ends the
/// process when it gets nothing.
fn left_of(limit: u64, used: u64, reserve: Reserve) -> u64 {
    limit.saturating_sub(used).saturating_sub(reserve.of(limit))
}

/// The part of a limit that stays.
#[derive(Clone, Copy)]
struct Reserve {
    part: u64,
    least: u64,
    most: u64,
}

impl Reserve {
    fn of(self, limit: u64) -> u64 {
        (limit / self.part).clamp(self.least, self.most)
    }
}

/// Of memory.
const OF_MEMORY: Reserve = Reserve { part: 32, least: 48 << 20, most: 256 << 20 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_each_limit_stays() {
        assert_eq!(left_of(1 << 30, 0, OF_MEMORY), (1 << 30) - (48 << 20));
        assert_eq!(left_of(4 << 30, 1 << 30, OF_MEMORY), (3 << 30) - (128 << 20));
        assert_eq!(left_of(64 << 30, 0, OF_MEMORY), (64 << 30) - (256 << 20));
        assert_eq!(left_of(1 << 30, 1 << 30, OF_MEMORY), 0);
        assert_eq!(left_of(0, 1 << 30, OF_MEMORY), 0);
    }
}
