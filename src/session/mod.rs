//! IS THIS SESSION ALIVE: where its id is (cookie, header, bearer), its format, its store, and what is remembered of it.
//!
//! A [`Source`] reads what the request carries ([`Place`]), checks its signature ([`Format`]) before anybody else is
//! asked, and then its store or what is remembered of it. What it finds is a [`Check`].

mod express;
mod fields;
mod id;
mod issue;
mod jwks;
mod jwt;
mod lookup;
mod place;
mod source;
#[cfg(test)]
mod vectors;

pub mod cache;
pub mod cookie;
pub mod store;

pub use self::{
    cache::KeyTemplate,
    fields::{FieldIndex, FieldPath},
    id::{Secret, SessionId, ShortHash},
    jwks::Jwks,
    jwt::JwtSettings,
    place::Place,
    source::{Format, Source, SourceSettings},
};

use std::{sync::Arc, time::Duration};

use http::HeaderValue;

use self::fields::Fields;
use crate::telemetry::metrics::CheckResult;

/// What a request says of its session, before any store is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Absent,
    /// Something that the application did not make, or that can't be read.
    Forged,
    /// A token that was valid once, or is not yet.
    Over,
    /// A session's id, whose signature is right where the format has one.
    Id(SessionId),
}

/// A session that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// What a log may say of it.
    pub hash: ShortHash,
    fields: Fields,
}

/// How a request's session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It lives.
    Live(Arc<Session>),
    /// It is over: its store doesn't know it, or its token has expired or was revoked.
    Dead,
    /// The request has none.
    Absent,
    /// The request has something that is no session of this application; no store was asked.
    Forged,
    /// Its store did not answer: see [`Source::allows_when_down`].
    Unknown,
    /// Its store answers, but so many ask that it wasn't its turn. It never passes: a crowd must not open what a store
    /// that is down would.
    Unasked,
}

/// How a request's session stands, and how that was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// How it stands.
    pub standing: Standing,
    /// What metrics and the log say of it.
    pub result: CheckResult,
}

/// What an answer says of a source's cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issued {
    /// Nothing, or nothing that the source would accept in a request.
    Nothing,
    /// The client is given this session.
    New {
        /// Its id.
        id: SessionId,
        /// How long the client is to keep it; none: as long as it runs.
        max_age: Option<Duration>,
    },
    /// The client is to forget its session.
    Ended,
}

// === impl Session ===

impl Session {
    /// Of which nothing is known but its id.
    #[cfg(test)]
    pub(crate) fn of(id: &str) -> Arc<Self> {
        let key = Secret::new(b"test").hmac();
        let session_id = SessionId::new(id.as_bytes()).expect("an id");
        Arc::new(Self { id: session_id, hash: ShortHash::of(&key, id), fields: Fields::default() })
    }

    /// Whether what is stored holds something at `field`: anything but null, false and the empty text.
    pub fn holds(&self, field: FieldIndex) -> bool {
        self.fields.holds(field)
    }

    /// What is stored at `field`, for a header; none where it isn't there, or where a header can't carry it faithfully.
    pub fn value(&self, field: FieldIndex) -> Option<&HeaderValue> {
        self.fields.value(field)
    }

    /// Bytes of memory, with all that it points to.
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.id.as_str().len() + self.fields.bytes()
    }
}
