use super::buffers::Buffers;
use super::loops::{for_each_piece, map, map_pieces, nth_chunk};
use super::pool::{help_until, in_pool, set_threads, threads, IN_CALL};
use std::sync::atomic::AtomicBool;

#[test]
fn calls_among_the_threads_do_not_wait_for_each_other_and_survive_panics() {
    let sum = || map(1000, 1, |i| i).into_iter().sum::<usize>();
    let (inside, outside) = std::sync::mpsc::channel();
    let (tell, told) = std::sync::mpsc::channel();
    let first = std::thread::spawn(move || {
        in_pool(move || {
            inside.send(()).unwrap();
            // the second call ends during this one
            told.recv().unwrap();
            sum()
        })
    });
    outside.recv().unwrap();
    assert_eq!(in_pool(sum), 499_500);
    tell.send(()).unwrap();
    assert_eq!(first.join().unwrap(), 499_500);
    assert!(std::panic::catch_unwind(|| in_pool(|| panic!("slip"))).is_err());
    assert_eq!(in_pool(|| in_pool(sum)), 499_500);
    // a thread that is inside a call does not stand by for it
    IN_CALL.set(true);
    help_until(&AtomicBool::new(false));
    IN_CALL.set(false);
}

#[test]
fn the_number_of_threads_can_change_within_calls_and_between() {
    let first = threads();
    let sum = || map(1000, 1, |i| i).into_iter().sum::<usize>();
    for count in [3, 1, 2] {
        let within = in_pool(|| {
            set_threads(count).unwrap();
            sum()
        });
        assert_eq!((within, sum(), threads()), (499_500, 499_500, count));
        let indices = map(1000, 1, |_| rayon::current_thread_index());
        assert!(indices.into_iter().flatten().all(|index| index < count));
    }
    set_threads(first).unwrap();
}

#[test]
fn every_element_belongs_to_one_piece() {
    for n in [0, 1, 9, 10, 11, 1000] {
        let mut out = vec![0; n];
        let source: Vec<usize> = (0..n).collect();
        let sums = map_pieces(&mut out, 10, |i, piece| {
            piece.copy_from_slice(nth_chunk(&source, i, 10));
            piece.iter().sum::<usize>()
        });
        assert_eq!(out, source);
        assert_eq!(sums.len(), n.div_ceil(10));
        assert_eq!(sums.iter().sum::<usize>(), n * n.saturating_sub(1) / 2);
        assert_eq!(map(n, 3, |i| i), source);
    }
}

#[test]
fn buffers_have_room_for_each_thread_or_is_an_error() {
    let (mut numbers, buffers) = (vec![0usize; 100], Buffers::new(20, 3).unwrap());
    for_each_piece(&mut numbers, 5, |piece, numbers| {
        buffers.with(|buffer| {
            assert!(buffer.is_empty() && buffer.capacity() >= 3);
            buffer.extend([piece, 1, 2]);
            numbers.fill(buffer.iter().sum());
        });
    });
    let want: Vec<usize> = (0..100).map(|i| i / 5 + 3).collect();
    assert_eq!(numbers, want);
    for len in [usize::MAX, 1 << 55] {
        let error = Buffers::<u64>::new(4, len).err().unwrap().to_string();
        assert!(error.contains("working memory needs"), "{error}");
    }
}
