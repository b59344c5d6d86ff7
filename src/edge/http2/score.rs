//! `Score`: what the client of one HTTP/2 connection costs us without getting anything for it.
//!
//! `h2` answers a frame that breaks a rule and bounds what it keeps in memory. Frames that are allowed, cheap to send and
//! useless are left: a client that sends little else is told to calm down. The score rises by each such frame and falls by
//! what the client does get, and with time. One `observe` each way, without clock or I/O.

use std::time::Duration;

use tokio::time::Instant;

use super::frames::{Frame, Kind};
use crate::telemetry::metrics::{Closed, Label};

/// A connection whose score is above this is closed.
const MOST: u32 = 1000;

/// The score falls by one in this time: a client may go on for ever with 100 points a second, which is, for one, 20 PING frames.
const FORGIVES: Duration = Duration::from_millis(10);

/// What a client gets that it asked for, and by how much that lowers the score: a whole response as much as a reset raises
/// it, so that a client may give up every second request, and each KiB sent one point, so that the frames by which a
/// download measures its way (PING) and goes on (WINDOW_UPDATE) are paid for by the download.
const RESPONSE: u32 = 5;
const BYTES_A_POINT: usize = 1024;

/// As much as a header frame takes that goes on in another: nobody has a reason to send less.
const FULL: usize = 16_384;

/// What a frame from the client weighs, and what the client is said to flood us with.
fn received(frame: Frame) -> Option<(u32, Closed)> {
    Some(match frame.kind {
        // A request begun for nothing. Who leaves a page gives up all of its pictures at once, a hundred streams, and
        // may do it twice in a row.
        Kind::Reset => (5, Closed::Resets),
        // Says nothing. A whole chunked upload has at most one, at its end, where it may say so.
        Kind::Data if frame.length == 0 && !frame.ends_stream() => (10, Closed::EmptyData),
        Kind::Data => return None,
        // Each is a walk over all streams. A client has settings once, and hardly ever changes them.
        Kind::Settings if frame.acknowledges() => (5, Closed::Settings),
        Kind::Settings => (20, Closed::Settings),
        // Each is an answer.
        Kind::Ping => (5, Closed::Pings),
        // Well-behaved clients send one for many DATA frames; one for each is still no attack.
        Kind::WindowUpdate => (1, Closed::WindowUpdates),
        // A browser sends one or two a request.
        Kind::Priority | Kind::Unknown => (1, Closed::UselessFrames),
        // Said once.
        Kind::GoAway => (20, Closed::UselessFrames),
        // A block that is cut small is held open on purpose.
        Kind::Headers | Kind::Continuation if !frame.ends_block() && frame.length < FULL => (20, Closed::Continuations),
        Kind::Continuation => (1, Closed::Continuations),
        Kind::Headers | Kind::PushPromise => return None,
    })
}

/// What a frame of ours says about the client.
fn sent(frame: Frame) -> Option<(u32, Closed)> {
    /// RFC 9113 section 7: the codes by which `h2` resets a stream for what its client did on it.
    const PROTOCOL_ERROR: u32 = 0x1;
    const FLOW_CONTROL_ERROR: u32 = 0x3;
    const STREAM_CLOSED: u32 = 0x5;
    const FRAME_SIZE_ERROR: u32 = 0x6;
    const REFUSED_STREAM: u32 = 0x7;
    match (frame.kind, frame.code) {
        // Made to reset it ourselves ("MadeYouReset"): no client that works does that.
        (Kind::Reset, PROTOCOL_ERROR | FLOW_CONTROL_ERROR | STREAM_CLOSED | FRAME_SIZE_ERROR) => {
            Some((20, Closed::StreamErrors))
        }
        // More streams than we allow: honest before our settings have arrived.
        (Kind::Reset, REFUSED_STREAM) => Some((2, Closed::StreamErrors)),
        _ => None,
    }
}

/// The score of one connection.
#[derive(Debug)]
pub(super) struct Score {
    points: u32,
    /// Up to when time has been forgiven.
    at: Instant,
    /// Bytes sent that are not a point yet.
    bytes: usize,
    /// What it has risen by since it was last 0: most by what the connection is closed for.
    by: [u32; Closed::ALL.len()],
    /// Why the connection is to be closed.
    over: Option<Closed>,
}

// === impl Score ===

impl Score {
    /// Of a connection that begins now.
    pub(super) fn new(now: Instant) -> Self {
        Score { points: 0, at: now, bytes: 0, by: [0; Closed::ALL.len()], over: None }
    }

    /// Why the connection is to be closed, as soon as it is.
    pub(super) fn over(&self) -> Option<Closed> {
        self.over
    }

    /// A frame came from the client.
    pub(super) fn observe_received(&mut self, frame: Frame, now: Instant) {
        self.add(received(frame), now);
    }

    /// A frame goes to the client.
    pub(super) fn observe_sent(&mut self, frame: Frame, now: Instant) {
        self.add(sent(frame), now);
        if frame.ends_stream() {
            self.points = self.points.saturating_sub(RESPONSE);
        }
        self.bytes += frame.length;
        self.points = self.points.saturating_sub(u32::try_from(self.bytes / BYTES_A_POINT).unwrap_or(u32::MAX));
        self.bytes %= BYTES_A_POINT;
    }

    fn add(&mut self, weight: Option<(u32, Closed)>, now: Instant) {
        let Some((points, why)) = weight else { return };
        let forgiven = now.saturating_duration_since(self.at).as_millis() / FORGIVES.as_millis();
        if let Ok(forgiven) = u32::try_from(forgiven) {
            self.points = self.points.saturating_sub(forgiven);
            self.at += FORGIVES.saturating_mul(forgiven);
        } else {
            (self.points, self.at) = (0, now);
        }
        if self.points == 0 {
            self.by = [0; Closed::ALL.len()];
        }
        self.points = self.points.saturating_add(points);
        let by = &mut self.by[why.index()];
        *by = by.saturating_add(points);
        if self.points > MOST && self.over.is_none() {
            self.over = Closed::ALL.iter().copied().max_by_key(|why| self.by[why.index()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESET: Frame = Frame::new(Kind::Reset, 0, 4, 8);
    const PING: Frame = Frame::new(Kind::Ping, 0, 8, 0);
    const WINDOW_UPDATE: Frame = Frame::new(Kind::WindowUpdate, 0, 4, 0);
    /// A small response, whole.
    const ANSWER: Frame = Frame::new(Kind::Headers, 0x5, 60, 0);
    const DATA: Frame = Frame::new(Kind::Data, 0, 16_384, 0);

    /// How many of `frame` come until the connection is closed, and why; `pause` after each.
    fn received_until_closed(frame: Frame, pause: Duration) -> Option<(usize, Closed)> {
        let mut now = Instant::now();
        let mut score = Score::new(now);
        for count in 1..=100_000 {
            score.observe_received(frame, now);
            if let Some(why) = score.over() {
                return Some((count, why));
            }
            now += pause;
        }
        None
    }

    #[test]
    fn a_flood_is_told_to_calm_down_and_named() {
        for (frame, most, why) in [
            (RESET, 200, Closed::Resets),
            (Frame::new(Kind::Data, 0, 0, 0), 100, Closed::EmptyData),
            (Frame::new(Kind::Settings, 0, 0, 0), 50, Closed::Settings),
            (Frame::new(Kind::Settings, 1, 0, 0), 200, Closed::Settings),
            (PING, 200, Closed::Pings),
            (Frame::new(Kind::Ping, 1, 8, 0), 200, Closed::Pings),
            (WINDOW_UPDATE, 1000, Closed::WindowUpdates),
            (Frame::new(Kind::Priority, 0, 5, 0), 1000, Closed::UselessFrames),
            (Frame::new(Kind::Unknown, 0, 0, 0), 1000, Closed::UselessFrames),
            (Frame::new(Kind::GoAway, 0, 8, 0), 50, Closed::UselessFrames),
            (Frame::new(Kind::Continuation, 0, 1, 0), 50, Closed::Continuations),
            (Frame::new(Kind::Headers, 0, 1, 0), 50, Closed::Continuations),
            (Frame::new(Kind::Continuation, 0, 16_384, 0), 1000, Closed::Continuations),
        ] {
            assert_eq!(received_until_closed(frame, Duration::ZERO), Some((most + 1, why)), "{frame:?}");
        }
    }

    #[test]
    fn what_a_client_does_now_and_then_is_forgiven() {
        for (frame, pause) in [(PING, 50), (RESET, 50), (WINDOW_UPDATE, 10), (Frame::new(Kind::Settings, 0, 6, 0), 200)]
        {
            assert_eq!(received_until_closed(frame, Duration::from_millis(pause)), None, "{frame:?}");
        }
    }

    #[test]
    fn requests_and_bodies_weigh_nothing() {
        for frame in
            [Frame::new(Kind::Headers, 0x5, 20, 0), Frame::new(Kind::Data, 0, 1, 0), Frame::new(Kind::Data, 1, 0, 0)]
        {
            assert_eq!(received_until_closed(frame, Duration::ZERO), None, "{frame:?}");
        }
    }

    #[test]
    fn a_page_that_is_left_twice_with_all_its_pictures_is_no_attack() {
        let now = Instant::now();
        let mut score = Score::new(now);
        for _ in 0..200 {
            score.observe_received(RESET, now);
        }
        assert_eq!(score.over(), None);
    }

    #[test]
    fn who_gives_up_every_second_request_may_go_on() {
        let now = Instant::now();
        let mut score = Score::new(now);
        for _ in 0..10_000 {
            score.observe_received(RESET, now);
            score.observe_sent(ANSWER, now);
        }
        assert_eq!(score.over(), None);
    }

    #[test]
    fn a_download_pays_for_the_frames_that_measure_it() {
        let now = Instant::now();
        let mut score = Score::new(now);
        for _ in 0..10_000 {
            score.observe_sent(DATA, now);
            score.observe_received(PING, now);
            score.observe_received(WINDOW_UPDATE, now);
            score.observe_received(WINDOW_UPDATE, now);
        }
        assert_eq!(score.over(), None);
        let pong = Frame::new(Kind::Ping, 1, 8, 0);
        for _ in 0..250 {
            score.observe_received(PING, now);
            score.observe_sent(pong, now);
        }
        assert_eq!(score.over(), Some(Closed::Pings), "an answer to a ping is nothing that was asked for");
    }

    #[test]
    fn streams_that_we_are_made_to_reset_count_and_those_that_we_break_off_do_not() {
        for (code, count, expected) in [
            (0x1, 51, Some(Closed::StreamErrors)),
            (0x3, 51, Some(Closed::StreamErrors)),
            (0x5, 51, Some(Closed::StreamErrors)),
            (0x7, 501, Some(Closed::StreamErrors)),
            (0x0, 10_000, None),
            (0x2, 10_000, None),
            (0x8, 10_000, None),
        ] {
            let now = Instant::now();
            let mut score = Score::new(now);
            for _ in 1..count {
                score.observe_sent(Frame::new(Kind::Reset, 0, 4, code), now);
                assert_eq!(score.over(), None, "code {code}");
            }
            score.observe_sent(Frame::new(Kind::Reset, 0, 4, code), now);
            assert_eq!(score.over(), expected, "code {code}");
        }
    }
}
