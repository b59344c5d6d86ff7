//! ONE CONNECTION and what is known of it: published while it lives, replaced as a whole.

use std::{
    borrow::Cow,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use redis::{
    Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, ServerErrorKind, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    cluster_async::ClusterConnection,
};
use tokio::sync::Notify;

use super::breaker::Breakers;

/// A connection that look-ups share.
///
/// There is one for all, reads and writes alike. Redis carries out one command at a time whatever connection it came by,
/// so a second one would wait in the server instead; and what we write on the connection that is tracked is not pushed
/// back to us.
pub(super) struct Link {
    pub(super) connection: Connection,
    pub(super) breakers: Breakers,
    pub(super) life: std::sync::Arc<Life>,
    /// Why the server does not tell of changes, if it doesn't.
    pub(super) untracked: Option<Reason>,
}

/// Whether a connection lives; its own task ends it as well as those who use it.
#[derive(Debug, Default)]
pub(super) struct Life {
    over: AtomicBool,
    reason: Mutex<Option<Reason>>,
    /// Wakes the keeper: the connection is over, or a breaker has opened.
    pub(super) wake: Notify,
}

/// A connection of either kind; a copy is the same connection.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// What went wrong, for people: no credentials, keys or values.
pub(super) type Reason = Cow<'static, str>;

/// What an error says of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection is of no use any more.
    Broken,
    /// What is at the key is of another type: the server is fine.
    WrongType,
    /// It can't write, since it is no master.
    ReadOnly,
    /// It may not be asked for that, but answers: who watches has no right to `PING`, say.
    NotAllowed,
    /// It answered with another error.
    Refused,
}

// === impl Link ===

impl Link {
    pub(super) fn is_alive(&self) -> bool {
        !self.life.over.load(Relaxed)
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.connection, Connection::Cluster(_))
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("breakers", &self.breakers).field("life", &self.life).finish_non_exhaustive()
    }
}

// === impl Life ===

impl Life {
    /// Ends it; the first reason is the one that counts. True where it lived until now.
    pub(super) fn end(&self, reason: impl Into<Reason>) -> bool {
        let mut told = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        if self.over.swap(true, Relaxed) {
            return false;
        }
        *told = Some(reason.into());
        drop(told);
        self.wake.notify_one();
        true
    }

    pub(super) fn reason(&self) -> Option<Reason> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

// === impl Connection ===

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(one) => one.req_packed_command(cmd),
            Self::Cluster(cluster) => cluster.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(one) => one.req_packed_commands(pipeline, offset, count),
            Self::Cluster(cluster) => cluster.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(one) => one.get_db(),
            Self::Cluster(cluster) => cluster.get_db(),
        }
    }
}

// === impl Fault ===

impl Fault {
    pub(super) fn of(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Self::ReadOnly,
            ErrorKind::Server(ServerErrorKind::NoPerm) => Self::NotAllowed,
            ErrorKind::Extension if error.code() == Some("WRONGTYPE") => Self::WrongType,
            // Something else than what was asked for came: a value of a type we don't keep.
            ErrorKind::UnexpectedReturnType => Self::WrongType,
            ErrorKind::Server(_) | ErrorKind::Extension => Self::Refused,
            _ => Self::Broken,
        }
    }
}

/// What may be said of an error. Never what the server wrote: an old one repeats a `HELLO` that it doesn't know, with the
/// password in it.
pub(super) fn reason(error: &RedisError) -> Reason {
    match error.kind() {
        ErrorKind::Io if error.is_timeout() => "no answer".into(),
        ErrorKind::Io if error.is_connection_refusal() => "connection refused".into(),
        ErrorKind::Io if error.is_connection_dropped() => "it closed the connection".into(),
        ErrorKind::Io | ErrorKind::InvalidClientConfig => error.to_string().into(),
        ErrorKind::AuthenticationFailed => "it refuses the user or the password".into(),
        ErrorKind::Server(_) | ErrorKind::Extension => match error.code().unwrap_or("ERR") {
            "NOAUTH" => "it wants a password (NOAUTH)".into(),
            "WRONGPASS" => "it refuses the user or the password (WRONGPASS)".into(),
            "NOPERM" => "it refuses the user what is needed (NOPERM)".into(),
            "LOADING" => "it is loading its data (LOADING)".into(),
            "READONLY" => "it is no master (READONLY)".into(),
            "ERR" if error.detail().is_some_and(|detail| detail.contains("DB index")) => {
                "it has no such database".into()
            }
            code => format!("it answers with an error ({code})").into(),
        },
        ErrorKind::Parse => "it doesn't speak Redis's protocol".into(),
        _ => error.category().to_owned().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_server_that_repeats_the_password_is_not_quoted() {
        let told = "unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `user`, `hunter2`";
        let error = redis::make_extension_error("ERR".into(), Some(told.into()));
        assert_eq!(reason(&error), "it answers with an error (ERR)");
    }

    #[test]
    fn the_first_reason_is_the_one_that_counts() {
        let life = Life::default();
        assert!(life.end("frozen"));
        assert!(!life.end("closed"));
        assert_eq!(life.reason().as_deref(), Some("frozen"));
    }
}
