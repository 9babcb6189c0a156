//! Threads of the library's own for heavy calls: on Node's, which are four, reading a file would
//! wait for a forward.
//!
//! They start when they are needed, and do not keep the process alive. Calls beyond their number
//! wait, and begin in the order in which they were made.

use std::collections::VecDeque;
use std::io;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use xt_bindings::AbortFlag;

/// As many as Node's pool has: each call takes memory, and all share the threads of the kernels.
const MOST: usize = 4;
/// As much as a main thread has.
const STACK: usize = 8 << 20;
/// How long the end of the process waits for calls to see that they are aborted.
const PATIENCE: Duration = Duration::from_secs(5);

/// A call for one of the threads.
pub struct Call {
    /// Whose it is, see [`end`].
    pub owner: usize,
    pub abort: AbortFlag,
    pub run: Box<dyn FnOnce() + Send>,
}

struct State {
    waiting: VecDeque<Call>,
    /// What each thread runs.
    running: [Option<(usize, AbortFlag)>; MOST],
    started: usize,
    /// Threads without a call; the one that has just become so is the last.
    idle: Vec<usize>,
    /// How many wait for the end of a call.
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
/// A call has ended.
static ENDED: Condvar = Condvar::new();

/// Calls run outside of the lock, so a poisoned one guards whole data.
fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes sure that there is a thread. An error where the system gives none.
pub fn ready() -> io::Result<()> {
    let mut state = state();
    if state.started == 0 {
        start(&mut state)?;
    }
    Ok(())
}

/// Puts a call in the queue. There is a thread ([`ready`]).
pub fn submit(call: Call) {
    let mut state = state();
    state.waiting.push_back(call);
    if state.idle.is_empty() && state.started < MOST {
        // without another thread, those that are there will come to it
        let _ = start(&mut state);
    }
    // the one that worked last has warm caches
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
        // a call catches its own panics; one beyond that must not cost the thread
        if let Err(panic) = catch_unwind(AssertUnwindSafe(next(number))) {
            std::mem::forget(panic);
        }
    };
    thread::Builder::new().name("x-transformers".into()).stack_size(STACK).spawn(work)?;
    state.started += 1;
    state.idle.push(number);
    Ok(())
}

/// The call that thread `number` runs next, as soon as there is one.
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

/// Ends the calls of an owner who is about to go: those that wait are dropped, those that run are
/// aborted. Returns when none is left.
pub fn end(owner: usize) {
    let mut state = state();
    let all = std::mem::take(&mut state.waiting);
    let (dropped, others): (VecDeque<Call>, VecDeque<Call>) = all.into_iter().partition(|call| call.owner == owner);
    state.waiting = others;
    let state = wait(state, |of| of == owner, None);
    // what they hold may be large, and is freed outside of the lock
    drop(state);
    drop(dropped);
}

/// Aborts running calls, and waits for their end; as long as it takes, unless there is a limit.
fn wait(
    mut state: MutexGuard<'static, State>,
    ends: impl Fn(usize) -> bool,
    limit: Option<Instant>,
) -> MutexGuard<'static, State> {
    state.ending += 1;
    loop {
        let left: Vec<_> = state.running.iter().flatten().filter(|(owner, _)| ends(*owner)).collect();
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

/// Ends all calls before the process does.
#[cfg(unix)]
pub fn end_all() {
    let mut state = state();
    // at this time nothing may be freed: it could belong to an environment that is no more
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

    // one test, as the threads are the program's
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
        // of an owner who goes, those that wait are dropped; the others stay in order
        end(3);
        ends[0].send(()).unwrap();
        drop(tell);
        assert_eq!(told.iter().collect::<Vec<_>>(), (0..20).step_by(2).collect::<Vec<_>>());

        // those that run see that they are aborted, and are waited for
        assert_eq!(state().running.iter().flatten().filter(|(owner, _)| *owner == 1).count(), MOST - 1);
        end(1);
        assert!(!state().running.iter().flatten().any(|(owner, _)| *owner == 1));
    }
}
