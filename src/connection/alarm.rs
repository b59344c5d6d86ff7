//! `Alarm`: a timer whose end is told anew at each poll.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// Moved lazily, only where it would ring too late: one that rings too early is set again, so that what waits often and
/// briefly moves its timer now and then, not each time.
#[derive(Debug, Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

// === impl Alarm ===

impl Alarm {
    /// Waits until `due`.
    pub(super) fn poll(&mut self, due: Instant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.is_elapsed() || due < sleep.deadline() {
            sleep.as_mut().reset(due);
        }
        loop {
            ready!(sleep.as_mut().poll(context));
            if due <= sleep.deadline() {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(due);
        }
    }

    /// Gives its memory back.
    pub(super) fn put_away(&mut self) {
        self.0 = None;
    }
}
