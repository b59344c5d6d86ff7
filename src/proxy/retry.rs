//! May this attempt be tried again: method, buffer, attempts, budget, deadline. Pure: the proxy brings the facts.

use std::time::Instant;

use http::Method;

use crate::route::RetryPolicy;
use crate::telemetry::metrics::{RetryReason, SkipReason};

/// How an attempt ended that could be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No connection could be made; nothing was sent.
    ConnectError,
    /// The connection ended before an answer began.
    Reset,
    /// The endpoint answered with this status.
    Status(u16),
}

/// What becomes of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Another attempt may be made, if the budget has one left.
    Retry,
    /// The policy doesn't name this cause: nobody expects another attempt.
    NotNamed,
    /// The policy names the cause, but something speaks against another attempt.
    Skip(SkipReason),
}

/// What is known of the request when an attempt failed.
#[derive(Debug, Clone, Copy)]
pub struct Attempted<'a> {
    /// How the attempt ended.
    pub cause: Cause,
    /// Tries that may have reached an endpoint, this one included.
    pub attempts: u32,
    /// The request's method.
    pub method: &'a Method,
    /// Whether the body no longer fits the buffer it would be replayed from.
    pub body_lost: bool,
    /// When the whole request must be over.
    pub deadline: Option<Instant>,
    /// The present.
    pub now: Instant,
}

// === impl Cause ===

impl Cause {
    /// The label under which another attempt is counted.
    pub fn reason(self) -> RetryReason {
        match self {
            Self::ConnectError => RetryReason::ConnectError,
            Self::Reset => RetryReason::Reset,
            Self::Status(502) => RetryReason::Status502,
            Self::Status(503) => RetryReason::Status503,
            Self::Status(504) => RetryReason::Status504,
            Self::Status(_) => RetryReason::OtherStatus,
        }
    }
}

/// Decides whether another attempt may be made; the caller then asks the budget, which this leaves untouched.
pub fn judge(policy: &RetryPolicy, attempted: &Attempted<'_>) -> Verdict {
    let named = match attempted.cause {
        Cause::ConnectError => policy.on_connect_error,
        Cause::Reset => policy.on_reset,
        Cause::Status(status) => policy.on_status.contains(&status),
    };
    if !named {
        return Verdict::NotNamed;
    }
    if attempted.deadline.is_some_and(|deadline| deadline <= attempted.now) {
        return Verdict::Skip(SkipReason::Deadline);
    }
    if attempted.cause == Cause::ConnectError {
        return Verdict::Retry;
    }
    if attempted.attempts >= policy.attempts {
        return Verdict::Skip(SkipReason::Attempts);
    }
    if !policy.any_method && !attempted.method.is_idempotent() {
        return Verdict::Skip(SkipReason::Method);
    }
    if attempted.body_lost {
        return Verdict::Skip(SkipReason::Body);
    }
    Verdict::Retry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            attempts: 2,
            on_connect_error: true,
            on_reset: true,
            on_status: vec![502, 503, 504],
            any_method: false,
        }
    }

    fn attempted(cause: Cause, method: &Method) -> Attempted<'_> {
        Attempted { cause, attempts: 1, method, body_lost: false, deadline: None, now: Instant::now() }
    }

    #[test]
    fn every_reason_against_another_attempt_is_told_apart() {
        let judge = |attempted: Attempted<'_>| judge(&policy(), &attempted);
        assert_eq!(judge(attempted(Cause::Reset, &Method::GET)), Verdict::Retry);
        assert_eq!(judge(attempted(Cause::Status(503), &Method::PUT)), Verdict::Retry);
        assert_eq!(judge(attempted(Cause::Status(500), &Method::GET)), Verdict::NotNamed);
        assert_eq!(judge(attempted(Cause::Reset, &Method::POST)), Verdict::Skip(SkipReason::Method));
        let second = Attempted { attempts: 2, ..attempted(Cause::Reset, &Method::GET) };
        assert_eq!(judge(second), Verdict::Skip(SkipReason::Attempts));
        let long = Attempted { body_lost: true, ..attempted(Cause::Reset, &Method::PUT) };
        assert_eq!(judge(long), Verdict::Skip(SkipReason::Body));
        let now = Instant::now();
        let late = Attempted { deadline: Some(now), now, ..attempted(Cause::Reset, &Method::GET) };
        assert_eq!(judge(late), Verdict::Skip(SkipReason::Deadline));
    }

    #[test]
    fn a_refused_connection_is_tried_elsewhere_whatever_the_method_and_costs_no_attempt() {
        let many = Attempted { attempts: 9, body_lost: true, ..attempted(Cause::ConnectError, &Method::POST) };
        assert_eq!(judge(&policy(), &many), Verdict::Retry);
        let never = RetryPolicy { on_connect_error: false, ..policy() };
        assert_eq!(judge(&never, &many), Verdict::NotNamed);
    }

    #[test]
    fn a_route_may_allow_every_method() {
        let any = RetryPolicy { any_method: true, ..policy() };
        assert_eq!(judge(&any, &attempted(Cause::Reset, &Method::POST)), Verdict::Retry);
    }
}
