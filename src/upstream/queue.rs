//! Where requests wait while every endpoint is full: first come, first served.
//!
//! A request that ends calls the first who waits and isn't called yet. Whoever is called tries; who can't use the room
//! (it has been to that endpoint already) calls the next behind it. A call is passed on until it is used or nobody is
//! left, also by a waiter that gives up. While a call is under way, newcomers keep off limited endpoints, so the room
//! goes to whom it was promised.
//!
//! No wake-up is lost: a waiter joins, then looks at the endpoints' loads; a request that ends lowers the load, then
//! looks for waiters. All four are in one order (`SeqCst`), so at least one sees the other.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Those who wait for room at the endpoints of one upstream, common to all its generations.
#[derive(Debug, Default)]
pub(super) struct Queue {
    line: Mutex<Line>,
    /// Mirrors the line's length.
    waiting: AtomicUsize,
    /// Calls under way.
    calls: AtomicUsize,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    places: VecDeque<Place>,
}

#[derive(Debug)]
struct Place {
    ticket: u64,
    called: bool,
    bell: Arc<Notify>,
}

/// A place in the line. Dropping it leaves the line and passes on a call that was not used.
#[derive(Debug)]
#[must_use = "who drops the ticket doesn't wait"]
pub(super) struct Ticket<'a> {
    queue: &'a Queue,
    number: u64,
    bell: Arc<Notify>,
    /// Whether a call was taken that is neither used nor passed on.
    holds: bool,
}

// === impl Queue ===

impl Queue {
    /// Joins the end of the line, unless `size` are in it.
    pub(super) fn join(&self, size: usize) -> Option<Ticket<'_>> {
        let mut line = self.line();
        if line.places.len() >= size {
            return None;
        }
        let number = line.next;
        let bell = Arc::new(Notify::new());
        line.next += 1;
        line.places.push_back(Place { ticket: number, called: false, bell: bell.clone() });
        self.waiting.fetch_add(1, SeqCst);
        Some(Ticket { queue: self, number, bell, holds: false })
    }

    /// There is room for one more: a request ended.
    pub(super) fn call(&self) {
        if self.waiting.load(SeqCst) == 0 {
            return;
        }
        let mut line = self.line();
        if line.ring(0) {
            self.calls.fetch_add(1, SeqCst);
        }
    }

    /// Whether room has been promised to somebody who waits.
    pub(super) fn promised(&self) -> bool {
        self.calls.load(SeqCst) > 0
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Line ===

impl Line {
    /// Calls the first with at least this ticket who isn't called yet; false if there is nobody.
    fn ring(&mut self, from: u64) -> bool {
        let Some(place) = self.places.iter_mut().find(|place| place.ticket >= from && !place.called) else {
            return false;
        };
        place.called = true;
        place.bell.notify_one();
        true
    }

    fn position(&self, ticket: u64) -> Option<usize> {
        self.places.binary_search_by_key(&ticket, |place| place.ticket).ok()
    }
}

// === impl Ticket ===

impl Ticket<'_> {
    /// Waits to be called.
    pub(super) async fn called(&mut self) {
        self.bell.notified().await;
        let mut line = self.queue.line();
        if let Some(at) = line.position(self.number) {
            // Taken before trying: room that comes up while this one tries is a new call.
            self.holds |= std::mem::take(&mut line.places[at].called);
        }
    }

    /// Whether room was promised to this one.
    pub(super) fn holds_call(&self) -> bool {
        self.holds
    }

    /// Whether nobody is before this one.
    pub(super) fn is_first(&self) -> bool {
        self.queue.line().places.front().is_some_and(|place| place.ticket == self.number)
    }

    /// The room was of no use here: the next behind this one may have it.
    pub(super) fn pass(&mut self) {
        let mut line = self.queue.line();
        if std::mem::take(&mut self.holds) && !line.ring(self.number + 1) {
            self.queue.calls.fetch_sub(1, SeqCst);
        }
    }

    /// The room was used. `more`: there may be more than what was called for.
    pub(super) fn served(mut self, more: bool) {
        if std::mem::take(&mut self.holds) {
            self.queue.calls.fetch_sub(1, SeqCst);
        }
        let queue = self.queue;
        drop(self);
        if more {
            queue.call();
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut line = self.queue.line();
        let place = line.position(self.number).and_then(|at| line.places.remove(at));
        self.queue.waiting.fetch_sub(1, SeqCst);
        let unused = usize::from(self.holds) + usize::from(place.is_some_and(|place| place.called));
        for _ in 0..unused {
            if !line.ring(0) {
                self.queue.calls.fetch_sub(1, SeqCst);
            }
        }
    }
}
