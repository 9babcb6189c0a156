//! Parallel loops over the thread pool. No other module knows about threads. A build without
//! threads runs the pieces of a loop one after the other.
//!
//! Pieces have a fixed size and their results are returned in order, so no result depends on the
//! number of threads. A loop with a single piece runs on the calling thread, so small work has no
//! threading overhead.

mod buffers;
mod build;
mod loops;
mod pool;
#[cfg(test)]
mod tests;

pub(crate) use buffers::Buffers;
pub(crate) use build::{
    assume_init_mut, build_uninit, build_uninit_map, build_uninit_zip, build_zeroed, zero_init,
    zeros,
};
pub use loops::{
    for_each, for_each_piece, for_each_piece_by, map, map_pieces, nth_chunk, rows_per_piece, PIECE,
};
pub use pool::{in_pool, product_parallelism, set_threads, threads, work_parallelism};
pub(crate) use pool::{install, multiplications};
