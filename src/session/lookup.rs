//! What a store is asked of a session, and what its answer means.

use std::{sync::Arc, time::Duration};

use ring::hmac;

use super::{
    Session,
    cache::{KeyTemplate, Lives, Load, Value},
    fields::{FieldPath, Fields},
    id::{SessionId, ShortHash},
    store::{Store, StoreError, Work},
};
use crate::telemetry::metrics::SessionMetrics;

/// Asks a store for what a cache doesn't know.
pub(super) struct Lookup {
    pub(super) store: Arc<Store>,
    pub(super) keys: KeyTemplate,
    pub(super) question: Question,
    pub(super) budget: Duration,
    pub(super) hash_key: hmac::Key,
    pub(super) metrics: Arc<SessionMetrics>,
}

/// What a key of the store says of a session.
pub(super) enum Question {
    /// It lives if there is a JSON object, with these fields. What express writes into it of its end (`cookie.expires`) says
    /// when it was last saved, no more: a touch moves the key's end and leaves the value, and express believes the key.
    Object(Vec<FieldPath>),
    /// It lives if there is anything.
    Presence,
    /// Its token is valid if there is nothing.
    Absence,
}

/// What a store said.
#[derive(Clone)]
pub(super) enum Stored {
    Live(Arc<Session>),
    NotRevoked,
    Gone,
}

// === impl Lookup ===

impl Lookup {
    fn live(&self, id: &str, fields: Fields) -> Stored {
        SessionId::new(id.as_bytes()).map_or(Stored::Gone, |known| {
            Stored::Live(Arc::new(Session { id: known, hash: ShortHash::of(&self.hash_key, id), fields }))
        })
    }

    fn garbage(&self) -> Stored {
        self.metrics.garbage();
        Stored::Gone
    }
}

impl Load for Lookup {
    type Value = Stored;

    fn budget(&self) -> Duration {
        self.budget
    }

    async fn load(&self, id: &str, budget: Duration) -> Result<Stored, StoreError> {
        let key = self.keys.key(id);
        let stored = match &self.question {
            Question::Presence => self.store.exists(&key, budget).await.map(|there| match there {
                true => self.live(id, Fields::default()),
                false => Stored::Gone,
            }),
            Question::Absence => self.store.exists(&key, budget).await.map(|there| match there {
                true => Stored::Gone,
                false => Stored::NotRevoked,
            }),
            Question::Object(fields) => self.store.get(&key, budget).await.map(|value| match value {
                None => Stored::Gone,
                Some(json) => match Fields::read(&json, fields) {
                    Some(fields) => self.live(id, fields),
                    None => self.garbage(),
                },
            }),
        };
        match stored {
            // Something is there, and it is no session.
            Err(StoreError::Garbage) => Ok(self.garbage()),
            stored => stored,
        }
    }

    fn later(&self, work: Work) {
        self.store.later(work);
    }
}

// === impl Stored ===

impl Value for Stored {
    fn bytes(&self) -> usize {
        match self {
            Self::Live(session) => session.bytes(),
            Self::NotRevoked | Self::Gone => 0,
        }
    }

    fn life(&self, lives: Lives) -> Duration {
        match self {
            Self::Live(_) | Self::NotRevoked => lives.positive,
            Self::Gone => lives.negative,
        }
    }
}
