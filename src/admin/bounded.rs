//! A listener that bounds what callers can hold: how many connections, and how long a silent one.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// Scrapers and a few people; each connection may make the server hold some hundred KiB of request head.
const CONNECTIONS: usize = 64;

/// How long a connection may go on without anything being written to it. Answers follow requests at once, so this bounds
/// an idle connection, a request head that comes byte by byte and an answer that nobody reads. A scrape a minute keeps
/// its connection.
const SILENCE: Duration = Duration::from_secs(75);

/// A listener that bounds what callers can hold.
#[derive(Debug)]
pub(super) struct Bounded<L> {
    listener: L,
    places: Arc<Semaphore>,
}

/// A connection that ends when it was silent for too long.
#[derive(Debug)]
pub(super) struct BoundedIo<S> {
    stream: S,
    silence: Pin<Box<Sleep>>,
    _place: Option<OwnedSemaphorePermit>,
}

// === impl Bounded ===

impl<L> Bounded<L> {
    pub(super) fn new(listener: L) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(CONNECTIONS)) }
    }
}

impl<L: Listener> Listener for Bounded<L> {
    type Io = BoundedIo<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // The semaphore is never closed, so there always is a place to come.
        let place = self.places.clone().acquire_owned().await.ok();
        let (stream, address) = self.listener.accept().await;
        (BoundedIo { stream, silence: Box::pin(sleep(SILENCE)), _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

// === impl BoundedIo ===

impl<S> BoundedIo<S> {
    /// Ready once the silence was too long.
    fn poll_over<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.silence.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for BoundedIo<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, into) {
            Poll::Pending => self.poll_over(context),
            read => read,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for BoundedIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_write(context, bytes) {
            Poll::Pending => self.poll_over(context),
            written => {
                self.silence.as_mut().reset(Instant::now() + SILENCE);
                written
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
