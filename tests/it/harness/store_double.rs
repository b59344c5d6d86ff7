//! A session store that accepts connections and misbehaves.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

/// What a double does with a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Says {
    /// Nothing, ever.
    Nothing,
    /// What Redis would say to what belongs to a connection; this error to all else, `GET` first of all.
    Error(&'static str),
    /// These bytes.
    Bytes(&'static [u8]),
    /// Nothing, and the connection is closed.
    Goodbye,
}

/// A listener that takes what a store is asked, and says what it was told to say.
pub(crate) struct StoreDouble {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

struct Shared {
    says: Says,
    closing: AtomicBool,
    commands: AtomicUsize,
    connections: Mutex<Vec<(TcpStream, JoinHandle<()>)>>,
}

impl StoreDouble {
    pub(crate) fn start(says: Says) -> StoreDouble {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (closing, commands, connections) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::default());
        let shared = Arc::new(Shared { says, closing, commands, connections });
        let accepting = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    if shared.closing.load(Ordering::Relaxed) {
                        return;
                    }
                    let (kept, serving) = (stream.try_clone().unwrap(), Arc::clone(&shared));
                    // Its errors are those of a peer that has gone.
                    let thread = thread::spawn(move || drop(serving.serve(stream)));
                    shared.connections.lock().unwrap().push((kept, thread));
                }
            })
        };
        StoreDouble { address, shared, accepting: Some(accepting) }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// How many commands came, the ones that belong to a connection not counted.
    pub(crate) fn commands(&self) -> usize {
        self.shared.commands.load(Ordering::Relaxed)
    }
}

impl Drop for StoreDouble {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        // Wakes `accept`.
        drop(TcpStream::connect(self.address));
        let mut panicked = self.accepting.take().unwrap().join().is_err();
        for (stream, thread) in std::mem::take(&mut *self.shared.connections.lock().unwrap()) {
            drop(stream.shutdown(Shutdown::Both));
            panicked |= thread.join().is_err();
        }
        assert!(!panicked || thread::panicking(), "the store's double panicked");
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut writer = stream;
        loop {
            let command = command(&mut reader)?;
            let about_itself: Option<&[u8]> = match command[0].to_ascii_uppercase().as_str() {
                "HELLO" => {
                    Some(b"%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:3\r\n")
                }
                "CLIENT" | "SELECT" | "AUTH" => Some(b"+OK\r\n"),
                "PING" => Some(b"+PONG\r\n"),
                "ROLE" => Some(b"*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"),
                _ => None,
            };
            if about_itself.is_none() {
                self.commands.fetch_add(1, Ordering::Relaxed);
            }
            match (self.says, about_itself) {
                (Says::Nothing, _) => {}
                (Says::Error(_), Some(answer)) => writer.write_all(answer)?,
                (Says::Error(error), None) => writer.write_all(format!("-{error}\r\n").as_bytes())?,
                (Says::Bytes(bytes), _) => writer.write_all(bytes)?,
                (Says::Goodbye, _) => return writer.shutdown(Shutdown::Both),
            }
        }
    }
}

/// Reads one command: an array of bulk strings.
fn command(from: &mut impl BufRead) -> io::Result<Vec<String>> {
    let words = length(from, '*')?;
    let mut command = Vec::with_capacity(words);
    for _ in 0..words {
        let mut word = vec![0; length(from, '$')? + 2];
        from.read_exact(&mut word)?;
        command.push(String::from_utf8_lossy(&word[..word.len() - 2]).into_owned());
    }
    Ok(command)
}

fn length(from: &mut impl BufRead, kind: char) -> io::Result<usize> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let number = line.trim_end().strip_prefix(kind).and_then(|number| number.parse().ok());
    Ok(number.unwrap_or_else(|| panic!("not a command: {line:?}")))
}
