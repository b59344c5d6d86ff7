//! `Deadline`: when a connection's present phase ends, shared by its stream, which waits for it, and the proxy, which
//! sets it.
//!
//! ```text
//! Idle --first byte--> Head --Deadline::request_begins--> Request --Deadline::await_request--> Idle
//! HTTP/2: Head --Deadline::streams_begin--> Streams, and each stream: Idle --Deadline::request_begins--> Request
//! ```

use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::listener::Limits;

/// When the present phase of a connection ends, and why.
#[derive(Debug)]
pub struct Deadline {
    header_timeout: Duration,
    idle_timeout: Duration,
    body_timeout: Duration,
    /// Uncontended: the connection's one task is nearly always the only one that asks.
    state: Mutex<State>,
}

/// Which of a route's timeouts passed while the proxy had the request. Named as its key in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// `first_byte`: the endpoint did not begin its response.
    FirstByte,
    /// `idle`: the endpoint stopped in the middle of its response.
    Idle,
    /// `request`: the request as a whole took too long.
    Request,
    /// `upgrade_idle`: neither side of an upgraded connection said anything.
    UpgradeIdle,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No byte of the next request yet.
    Idle,
    /// In the middle of a request head.
    Head,
    /// The proxy has the head.
    Request,
    /// An HTTP/2 connection, each of whose streams has a deadline of its own.
    Streams,
}

/// How a wait for the client ends when the client stays silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    /// Nobody waits for an answer: close without a word.
    Idle,
    /// The head did not come in time.
    Head,
    /// A deadline of the proxy's passed.
    Request,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    due: Option<Instant>,
    cause: Cause,
    expired: Option<Cause>,
    /// How long a write may wait for the client to take anything.
    write_timeout: Duration,
    /// How long the client may be silent in the middle of its body.
    body_timeout: Duration,
    /// Whether the next step is the client's while its body is not complete.
    client_owes: bool,
    /// When the stream's timer wakes it, and whom to wake before that.
    armed: Option<Instant>,
    waker: Option<Waker>,
}

// === impl Deadline ===

impl Deadline {
    pub(super) fn new(limits: &Limits) -> Self {
        let state = State {
            phase: Phase::Idle,
            due: after(limits.header_timeout),
            cause: Cause::Request,
            expired: None,
            write_timeout: limits.idle_timeout,
            body_timeout: limits.body_timeout,
            client_owes: true,
            armed: None,
            waker: None,
        };
        Deadline {
            header_timeout: limits.header_timeout,
            idle_timeout: limits.idle_timeout,
            body_timeout: limits.body_timeout,
            state: Mutex::new(state),
        }
    }

    /// The proxy has a request head: from here on it sets the deadlines. Call it first of all.
    pub fn request_begins(&self) {
        let mut state = self.state();
        state.phase = Phase::Request;
        state.due = None;
        state.expired = None;
        state.write_timeout = self.idle_timeout;
        state.body_timeout = self.body_timeout;
        state.client_owes = true;
    }

    /// The connection speaks HTTP/2: from here on it has no deadline, its streams have. What is written must still be taken.
    pub(super) fn streams_begin(&self) {
        let mut state = self.state();
        state.phase = Phase::Streams;
        state.due = None;
        state.write_timeout = self.idle_timeout;
    }

    /// Ends the request at `at`, for `cause`; replaces the deadline before. `None` for no deadline.
    ///
    /// It is found by whoever waits for the client: a pending read fails with [`std::io::ErrorKind::TimedOut`] when
    /// the instant passes, and [`expired`](Self::expired) then tells the cause. Pingora waits for the client as long
    /// as a response is under way, so this times everything that Pingora has no timeout for.
    pub fn set(&self, at: Option<Instant>, cause: Cause) {
        let mut state = self.state();
        state.due = at;
        state.cause = cause;
        // A later deadline is found when the timer fires; only an earlier one needs a new timer.
        let early = at.is_some_and(|at| state.armed.is_none_or(|armed| at < armed));
        let waker = if early { state.waker.take() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// From here on a write fails that the client takes nothing of for this long; until then, and for answers of our own,
    /// it is the listener's `idle_timeout`.
    pub fn set_write_timeout(&self, within: Duration) {
        self.state().write_timeout = within;
    }

    /// From here on the client may be silent in the middle of its body for this long, if its listener allows that much.
    pub fn set_body_timeout(&self, within: Duration) {
        self.state().body_timeout = within.min(self.body_timeout);
    }

    /// Whose step is the next while the client's body is not complete: not the client's while it waits for a
    /// `100 Continue`, nor once it reads an answer already.
    pub fn set_client_owes(&self, owes: bool) {
        self.state().client_owes = owes;
    }

    /// How long the client may be silent in the middle of its body; none while it is not waited for.
    pub fn body_timeout(&self) -> Option<Duration> {
        let state = self.state();
        state.client_owes.then_some(state.body_timeout)
    }

    pub(super) fn write_timeout(&self) -> Duration {
        self.state().write_timeout
    }

    /// Which deadline ended the present request; none when none did.
    pub fn expired(&self) -> Option<Cause> {
        self.state().expired
    }

    /// The last request is done and its connection kept: waits for the next.
    pub(crate) fn await_request(&self) {
        let mut state = self.state();
        state.phase = Phase::Idle;
        state.due = after(self.idle_timeout);
    }

    /// Whether the present deadline is that of the request as a whole.
    pub(super) fn is_total(&self) -> bool {
        let state = self.state();
        state.phase == Phase::Request && state.due.is_some() && state.cause == Cause::Request
    }

    /// The first byte of a head is here.
    pub(super) fn head_begins(&self) {
        let mut state = self.state();
        state.phase = Phase::Head;
        state.due = after(self.header_timeout);
    }

    /// Waits for the end of the present phase. The timer is moved lazily, only where it would fire too late: one that
    /// fires too early is armed again, so a busy connection moves its timer now and then, not at every request.
    pub(super) fn poll(&self, timer: &mut Option<Pin<Box<Sleep>>>, context: &mut Context<'_>) -> Poll<Late> {
        loop {
            let mut state = self.state();
            if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                state.waker = Some(context.waker().clone());
            }
            let Some(due) = state.due else {
                state.armed = None;
                return Poll::Pending;
            };
            let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if timer.is_elapsed() || due < timer.deadline() {
                timer.as_mut().reset(due);
            }
            state.armed = Some(timer.deadline());
            drop(state);

            ready!(timer.as_mut().poll(context));

            let mut state = self.state();
            if state.due.is_some_and(|due| due <= timer.deadline()) {
                return Poll::Ready(state.passed());
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn passed(&mut self) -> Late {
        match self.phase {
            Phase::Idle | Phase::Streams => Late::Idle,
            Phase::Head => Late::Head,
            Phase::Request => {
                self.expired = Some(self.cause);
                Late::Request
            }
        }
    }
}

/// No deadline where the clock can't count that far.
fn after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
