//! How many lines of one kind the process log takes: one failing endpoint must not fill the disk.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lets some lines a second through and counts the others.
#[derive(Debug)]
pub struct Quota {
    each_second: u32,
    window: Mutex<Window>,
}

#[derive(Debug)]
struct Window {
    began: Option<Instant>,
    lines: u32,
    held_back: u64,
}

// === impl Quota ===

impl Quota {
    /// Lets this many through each second.
    pub fn new(each_second: u32) -> Self {
        Self { each_second, window: Mutex::new(Window { began: None, lines: 0, held_back: 0 }) }
    }

    /// Asks for one line: how many were held back since the last that was let through, or none if this one is too.
    pub fn take(&self, now: Instant) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        if window.began.is_none_or(|began| now.saturating_duration_since(began) >= Duration::from_secs(1)) {
            window.began = Some(now);
            window.lines = 0;
        }
        if window.lines >= self.each_second {
            window.held_back += 1;
            return None;
        }
        window.lines += 1;
        Some(std::mem::take(&mut window.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_its_quota_a_second_is_silent_and_the_next_tells_how_much_was_left_out() {
        let (quota, now) = (Quota::new(2), Instant::now());
        assert_eq!([(); 5].map(|()| quota.take(now)), [Some(0), Some(0), None, None, None]);
        assert_eq!(quota.take(now + Duration::from_millis(999)), None);
        assert_eq!(quota.take(now + Duration::from_secs(1)), Some(4));
        assert_eq!(quota.take(now + Duration::from_secs(1)), Some(0));
    }
}
