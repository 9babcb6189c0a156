//! The library's own threads for heavy calls. On Node's thread pool, which has four threads,
//! reading a file would wait for a forward pass.
//!
//! Threads start on demand and do not keep the process alive. Calls that find no idle thread are
//! queued, and begin in the order of submission.

use std::collections::VecDeque;
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use xt_bindings::AbortFlag;

/// The number of threads, as many as Node's pool has: each running call needs memory, and all share
/// the threads of the kernels.
const MOST: usize = 4;
/// Stack size of a thread in bytes, as large as that of a main thread.
const STACK: usize = 8 << 20;
/// How long the end of the process waits for calls to notice that they are aborted.
const PATIENCE: Duration = Duration::from_secs(5);

/// A call to run on one of the threads.
pub struct Call {
    /// The environment to which it belongs, see [`end`].
    pub owner: usize,
    /// Aborts the call.
    pub abort: AbortFlag,
    /// The computation.
    pub run: Box<dyn FnOnce() + Send>,
}

/// The state of the pool.
struct State {
    /// Queued calls.
    waiting: VecDeque<Call>,
    /// Owner and abort flag of the call that each thread runs.
    running: [Option<(usize, AbortFlag)>; MOST],
    /// The number of threads started.
    started: usize,
    /// Idle threads, the one that became idle last at the end.
    idle: Vec<usize>,
    /// How many threads wait for calls to end.
    ending: usize,
}

static STATE: Mutex<State> = Mutex::new(State {
    waiting: VecDeque::new(),
    running: [const { None }; MOST],
    started: 0,
    idle: Vec::new(),
    ending: 0,
});
/// Wakes one thread each.
static WAKE: [Condvar; MOST] = [const { Condvar::new() }; MOST];
/// Signalled when a call has ended.
static ENDED: Condvar = Condvar::new();

/// Locks the state, ignoring poison: calls run outside of the lock, so its data is consistent.
fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ensures that at least one thread runs; an error if the system cannot start one.
pub fn ready() -> io::Result<()> {
    let mut state = state();
    if state.started == 0 {
        start(&mut state)?;
    }
    Ok(())
}

/// Queues a call. Requires a running thread, see [`ready`].
pub fn submit(call: Call) {
    let mut state = state();
    state.waiting.push_back(call);
    if state.idle.is_empty() && state.started < MOST {
        // if no further thread can be started, a running one takes the call later
        let _ = start(&mut state);
    }
    // the thread that became idle last has the warmest caches
    let thread = state.idle.pop();
    drop(state);
    if let Some(thread) = thread {
        WAKE[thread].notify_one();
    }
}

/// Starts one more thread.
fn start(state: &mut State) -> io::Result<()> {
    let number = state.started;
    let work = move || loop {
        // calls catch their own panics; a panic elsewhere must not end the thread
        if let Err(panic) = catch_unwind(AssertUnwindSafe(next(number))) {
            std::mem::forget(panic);
        }
    };
    thread::Builder::new().name("x-transformers".into()).stack_size(STACK).spawn(work)?;
    state.started += 1;
    state.idle.push(number);
    Ok(())
}

/// Waits for the next call and takes it, for thread `number`.
fn next(number: usize) -> Box<dyn FnOnce() + Send> {
    let mut state = state();
    state.running[number] = None;
    if state.ending > 0 {
        ENDED.notify_all();
    }
    loop {
        if let Some(call) = state.waiting.pop_front() {
            state.idle.retain(|idle| *idle != number);
            state.running[number] = Some((call.owner, call.abort));
            return call.run;
        }
        if !state.idle.contains(&number) {
            state.idle.push(number);
        }
        while state.idle.contains(&number) {
            state = WAKE[number].wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Ends the calls of an owner that is about to be destroyed: drops the queued ones, aborts the
/// running ones, and returns once none is left.
pub fn end(owner: usize) {
    let mut state = state();
    let all = std::mem::take(&mut state.waiting);
    let (dropped, others): (VecDeque<Call>, VecDeque<Call>) =
        all.into_iter().partition(|call| call.owner == owner);
    state.waiting = others;
    let state = wait(state, |of| of == owner, None);
    // what the calls own may be large, so it is freed outside of the lock
    drop(state);
    drop(dropped);
}

/// Aborts the running calls whose owner matches, and waits until they have ended, or until `limit`.
fn wait(
    mut state: MutexGuard<'static, State>,
    ends: impl Fn(usize) -> bool,
    limit: Option<Instant>,
) -> MutexGuard<'static, State> {
    state.ending += 1;
    loop {
        let left: Vec<_> =
            state.running.iter().flatten().filter(|(owner, _)| ends(*owner)).collect();
        left.iter().for_each(|(_, abort)| abort.set());
        let rest = limit.map_or(PATIENCE, |limit| limit.saturating_duration_since(Instant::now()));
        if left.is_empty() || rest.is_zero() {
            break;
        }
        state = ENDED.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0;
    }
    state.ending -= 1;
    state
}

/// Ends all calls, before the process ends.
#[cfg(unix)]
pub fn end_all() {
    let mut state = state();
    // leaked: a call may own data of an environment that no longer exists, so it must not be
    // dropped
    std::mem::forget(std::mem::take(&mut state.waiting));
    drop(wait(state, |_| true, Some(Instant::now() + PATIENCE)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn call(owner: usize, run: impl FnOnce(&AbortFlag) + Send + 'static) {
        let abort = AbortFlag::default();
        let flag = abort.clone();
        ready().unwrap();
        submit(Call { owner, abort, run: Box::new(move || run(&flag)) });
    }

    // one test, as the threads are global to the process
    #[test]
    fn calls_begin_in_order_and_end_with_their_owner() {
        call(1, |_| panic!("slip"));
        let (begun, begins) = channel();
        let long = || {
            let (begun, (end, told)) = (begun.clone(), channel::<()>());
            call(1, move |abort| {
                begun.send(()).unwrap();
                while !abort.is_set() && told.try_recv().is_err() {
                    thread::yield_now();
                }
            });
            end
        };
        let ends: Vec<_> = (0..MOST).map(|_| long()).collect();
        (0..MOST).for_each(|_| begins.recv().unwrap());
        assert_eq!(state().started, MOST);

        let (tell, told) = channel();
        for i in 0..20 {
            let tell = tell.clone();
            call(2 + i % 2, move |_| tell.send(i).unwrap());
        }
        assert!(told.try_recv().is_err());
        // of an owner that is destroyed, queued calls are dropped; the others keep their order
        end(3);
        ends[0].send(()).unwrap();
        drop(tell);
        assert_eq!(told.iter().collect::<Vec<_>>(), (0..20).step_by(2).collect::<Vec<_>>());

        // running calls notice the abort, and are waited for
        assert_eq!(
            state().running.iter().flatten().filter(|(owner, _)| *owner == 1).count(),
            MOST - 1
        );
        end(1);
        assert!(!state().running.iter().flatten().any(|(owner, _)| *owner == 1));
    }
}
