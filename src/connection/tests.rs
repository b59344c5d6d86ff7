//! A stream between an in-memory client and a reader that stands for Pingora.

use std::future::poll_fn;
use std::io;
use std::num::NonZeroU64;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::{Instant, sleep};

use super::*;
use crate::listener::Limits;

const SECOND: Duration = Duration::from_secs(1);

/// At least 100 bytes a second, no silence of 20 seconds.
fn connected() -> (DuplexStream, EdgeStream, Arc<Connection>, watch::Sender<bool>) {
    let limits = Limits {
        header_bytes: 400,
        target_bytes: 200,
        headers: 10,
        handshake_timeout: SECOND,
        streams: 10,
        header_timeout: SECOND,
        idle_timeout: 60 * SECOND,
        body_timeout: 20 * SECOND,
        min_rate: NonZeroU64::new(100),
        connections_per_ip: None,
    };
    let (stop, closing) = watch::channel(false);
    let connection = Connection::new(Listener::bare("127.0.0.1:0", limits), None, None, closing);
    let (client, server) = duplex(1000);
    let stream = EdgeStream::new(Box::new(server), Arc::clone(&connection));
    (client, stream, connection, stop)
}

/// Sends `head`, and takes the stream to where the proxy has it.
async fn request(client: &mut DuplexStream, stream: &mut EdgeStream, head: &str) {
    client.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(poll_fn(|context| stream.poll_request(context)).await, Next::Request);
    stream.read_exact(&mut vec![0; head.len()]).await.unwrap();
    stream.connection().deadline.request_begins();
}

const UPLOAD: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n";

/// Sends `bytes` every `step` until the body is refused; returns when that was.
async fn upload(bytes: usize, step: Duration) -> (Duration, Option<Violation>) {
    let (mut client, mut stream, connection, _stop) = connected();
    request(&mut client, &mut stream, UPLOAD).await;
    let begun = Instant::now();
    let sending = tokio::spawn(async move {
        while client.write_all(&vec![b'x'; bytes]).await.is_ok() {
            sleep(step).await;
        }
    });
    let error = stream.read_exact(&mut vec![0; 100_000]).await.map_err(|error| error.kind());
    let took = begun.elapsed();
    sending.abort();
    match error {
        Ok(_) => (took, None),
        Err(kind) => {
            assert_eq!(kind, io::ErrorKind::TimedOut);
            (took, connection.violation())
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_may_be_slow_but_neither_too_slow_nor_silent() {
    let (took, violation) = upload(10, SECOND).await;
    assert_eq!(violation, Some(Violation::BodyTooSlow));
    assert!((5 * SECOND..7 * SECOND).contains(&took), "{took:?}");
    let (took, violation) = upload(900, 30 * SECOND).await;
    assert_eq!(violation, Some(Violation::BodyTooSlow), "nine seconds' worth, and five to begin with");
    assert!((13 * SECOND..15 * SECOND).contains(&took), "{took:?}");
    let (took, violation) = upload(900, SECOND / 100).await;
    assert_eq!((violation, took < 2 * SECOND), (None, true));
}

#[tokio::test(start_paused = true)]
async fn silence_after_a_burst_is_too_long_in_the_end() {
    let (mut client, mut stream, connection, _stop) = connected();
    request(&mut client, &mut stream, UPLOAD).await;
    client.write_all(&[b'x'; 1000]).await.unwrap();
    stream.read_exact(&mut [0; 1000]).await.unwrap();
    client.write_all(&[b'x'; 1000]).await.unwrap();
    stream.read_exact(&mut [0; 1000]).await.unwrap();
    let begun = Instant::now();
    assert!(stream.read_u8().await.is_err());
    assert_eq!((begun.elapsed().as_secs(), connection.violation()), (20, Some(Violation::BodyTimeout)));
}

#[tokio::test(start_paused = true)]
async fn only_time_spent_waiting_for_the_client_counts() {
    let (mut client, mut stream, connection, _stop) = connected();
    request(&mut client, &mut stream, UPLOAD).await;
    connection.deadline.set_client_owes(false);
    tokio::select! {
        read = stream.read_u8() => panic!("{read:?}"),
        () = sleep(3600 * SECOND) => {}
    }
    connection.deadline.set_client_owes(true);
    // The reader's own pauses are not the client's.
    for _ in 0..100 {
        client.write_all(b"x").await.unwrap();
        stream.read_u8().await.unwrap();
        sleep(10 * SECOND).await;
    }
    assert_eq!(connection.violation(), None);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_too_little_is_cut_off_and_one_that_is_sent_little_is_not() {
    let (mut client, mut stream, connection, _stop) = connected();
    request(&mut client, &mut stream, "GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    // Events, each of which the client takes at once.
    for _ in 0..20 {
        stream.write_all(b"data: 1\n\n").await.unwrap();
        client.read_exact(&mut [0; 9]).await.unwrap();
        sleep(10 * SECOND).await;
    }
    let taking = tokio::spawn(async move {
        while client.read_exact(&mut [0; 10]).await.is_ok() {
            sleep(SECOND).await;
        }
    });
    let begun = Instant::now();
    let written = stream.write_all(&[b'x'; 100_000]).await.map_err(|error| error.kind());
    assert_eq!((written, connection.violation()), (Err(io::ErrorKind::TimedOut), Some(Violation::ReaderTooSlow)));
    // A thousand bytes fit in between and earn ten seconds.
    assert!((15 * SECOND..20 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    drop(stream);
    taking.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_body_is_left_for_the_next_request() {
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    let next = "GET /2 HTTP/1.1\r\nhost: a\r\n\r\n";
    let (mut client, mut stream, connection, _stop) = connected();
    let body = "3\r\nabc\r\n0\r\n\r\n";
    client.write_all(format!("{chunked}{body}{next}").as_bytes()).await.unwrap();
    assert_eq!(poll_fn(|context| stream.poll_request(context)).await, Next::Request);
    let mut read = vec![0; chunked.len() + body.len()];
    stream.read_exact(&mut read).await.unwrap();
    assert!(read.ends_with(body.as_bytes()));
    // Whatever is asked for now, in pieces of any size, is not for this request.
    connection.deadline.request_begins();
    for room in [1, 100] {
        tokio::select! {
            read = async { stream.read(&mut vec![0; room]).await } => panic!("{read:?}"),
            () = sleep(SECOND) => {}
        }
    }
    assert_eq!(poll_fn(|context| stream.poll_request(context)).await, Next::Request);
    let mut read = vec![0; next.len()];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(read, next.as_bytes());
    connection.becomes_tunnel();
    client.write_all(b"anything").await.unwrap();
    stream.read_exact(&mut [0; 8]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_bad_chunk_ends_the_body_and_names_its_fault() {
    let (mut client, mut stream, connection, _stop) = connected();
    request(&mut client, &mut stream, "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.write_all(b"3\r\nabcX").await.unwrap();
    let error = stream.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!((error.kind(), connection.violation()), (io::ErrorKind::InvalidData, Some(Violation::Chunk)));
}
