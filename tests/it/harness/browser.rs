//! A client that keeps cookies, as a browser does.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{Answer, Ask, Client};

/// Asks one gateway after the other with the cookies that it was given.
pub(crate) struct Browser {
    address: SocketAddr,
    connection: Option<Client>,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn new(address: SocketAddr) -> Browser {
        Browser { address, connection: None, cookies: BTreeMap::new() }
    }

    /// Goes on with another gateway.
    pub(crate) fn go_to(&mut self, address: SocketAddr) {
        (self.address, self.connection) = (address, None);
    }

    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    pub(crate) fn set_cookie(&mut self, name: &str, value: &str) {
        self.cookies.insert(name.to_owned(), value.to_owned());
    }

    /// `NAME=VALUE`
    pub(crate) fn with(mut self, cookie: &str) -> Browser {
        let (name, value) = cookie.split_once('=').unwrap();
        self.set_cookie(name, value);
        self
    }

    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Answer {
        self.ask(Ask::get(target))
    }

    #[track_caller]
    pub(crate) fn post(&mut self, target: &str) -> Answer {
        self.ask(Ask::post(target, ""))
    }

    #[track_caller]
    pub(crate) fn ask(&mut self, mut ask: Ask) -> Answer {
        if !self.cookies.is_empty() {
            let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            ask = ask.header("Cookie", &pairs.join("; "));
        }
        let mut client = self.connection.take().unwrap_or_else(|| Client::connect(self.address));
        let answer = client.ask(&ask);
        self.connection = Some(client).filter(Client::reusable);
        for set in answer.head.headers("set-cookie") {
            self.keep(set);
        }
        answer
    }

    fn keep(&mut self, set: &str) {
        let mut parts = set.split(';').map(str::trim);
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let over = |part: &str| {
            let part = part.to_ascii_lowercase();
            part == "max-age=0" || (part.starts_with("expires=") && part.contains(" 1970 "))
        };
        if parts.any(over) {
            self.cookies.remove(name);
        } else {
            self.set_cookie(name, value);
        }
    }
}
