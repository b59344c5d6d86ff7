//! `listeners` and `admin`: which addresses, and what holds for their connections.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;

use super::{Inputs, tls};
use crate::config::{
    Admin, At, ListenAddress, Listener as Written, Problem, RedirectToHttps, Underscores as WrittenUnderscores,
};
use crate::listener::{Limits, Listener, ListenerId, Underscores};
use crate::telemetry::metrics::Metrics;

/// A listener's name: its own, or its address.
pub(super) fn name(written: &Written) -> String {
    written.name.clone().unwrap_or_else(|| written.address.to_string())
}

pub(super) fn compile(written: &[Written], inputs: &Inputs<'_>, problems: &mut Vec<Problem>) -> Vec<Arc<Listener>> {
    let at = At::root().key("listeners");
    let mut names = HashMap::new();
    let mut addresses = HashMap::new();
    for (index, listener) in written.iter().enumerate() {
        let at = at.index(index);
        // Port 0 is another port each time.
        let any_port = matches!(listener.address, ListenAddress::Tcp(address) if address.port() == 0);
        if !any_port && addresses.insert(listener.address.to_string(), index).is_some() {
            problems.push(Problem::error(
                at.key("address"),
                format!("two listeners have the address `{}`", listener.address),
            ));
        } else if names.insert(name(listener), index).is_some() && !(any_port && listener.name.is_none()) {
            problems.push(Problem::error(at.key("name"), format!("two listeners have the name `{}`", name(listener))));
        }
    }
    for (index, listener) in written.iter().enumerate() {
        // Over a unix socket there is no address to trust: its file says who may connect.
        let over_tcp = matches!(listener.address, ListenAddress::Tcp(_));
        if listener.proxy_protocol && over_tcp && listener.trusted_proxies.is_empty() {
            let message = "`proxy_protocol` without `trusted_proxies` lets nobody connect".to_owned();
            let hint = "write the networks of the balancers that connect here: `trusted_proxies: [10.0.0.0/8]`";
            problems.push(Problem::error(at.index(index).key("proxy_protocol"), message).hint(hint));
        }
    }
    for (index, listener) in written.iter().enumerate() {
        if listener.tls.is_some() && listener.redirect_to_https != RedirectToHttps::Off {
            let message = "`redirect_to_https` would send the clients of this listener, who speak TLS, in circles";
            let hint = "it belongs to the listener of plain HTTP: `{ address: 0.0.0.0:80, redirect_to_https: true }`";
            problems.push(Problem::error(at.index(index).key("redirect_to_https"), message).hint(hint));
        }
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    let id = |address: &str, seen: &mut HashMap<String, usize>| {
        let occurrence = seen.entry(address.to_owned()).or_default();
        *occurrence += 1;
        ListenerId::new(address, *occurrence - 1)
    };
    let one = |(index, listener): (usize, &Written)| {
        let address = listener.address.to_string();
        let id = id(&address, &mut seen);
        let before = inputs.previous.and_then(|previous| previous.listener(&id)).map(|(_, listener)| &**listener);
        let http2 = listener.http2.unwrap_or(listener.tls.is_some());
        let tls = listener.tls.as_ref().and_then(|tls| {
            let before = before.and_then(|before| before.tls.as_deref());
            tls::compile(tls, http2, before, inputs, &at.index(index).key("tls"), problems)
        });
        Arc::new(Listener { tls, http2, ..compile_one(listener, id, address, inputs.metrics) })
    };
    written.iter().enumerate().map(one).collect()
}

fn compile_one(written: &Written, id: ListenerId, address: String, metrics: &Metrics) -> Listener {
    let name = name(written);
    let limits = &written.limits;
    Listener {
        id,
        address,
        metrics: metrics.listener(&name),
        name: name.into(),
        limits: Limits {
            header_bytes: usize::try_from(limits.header_bytes.0).unwrap_or(usize::MAX),
            target_bytes: usize::try_from(limits.target_bytes.0).unwrap_or(usize::MAX),
            headers: usize::from(limits.headers),
            header_timeout: limits.header_timeout.0,
            handshake_timeout: limits.handshake_timeout.0,
            idle_timeout: limits.idle_timeout.0,
            streams: u32::from(limits.streams),
            body_timeout: limits.body_timeout.0,
            min_rate: limits.min_rate.0.and_then(|size| NonZeroU64::new(size.0)),
            connections_per_ip: limits.connections_per_ip.0,
        },
        max_body: limits.body.0.map(|size| size.0),
        trusted_proxies: written.trusted_proxies.iter().map(|network| network.0).collect(),
        tls: None,
        http2: false,
        proxy_protocol: written.proxy_protocol,
        redirect_to_https: match written.redirect_to_https {
            RedirectToHttps::Off => None,
            RedirectToHttps::Port(port) => Some(port),
        },
        underscores: match written.underscores {
            WrittenUnderscores::Drop => Underscores::Drop,
            WrittenUnderscores::Refuse => Underscores::Refuse,
            WrittenUnderscores::Keep => Underscores::Keep,
        },
    }
}

/// The admin listener tells a lot: off loopback it needs a token.
pub(super) fn check_admin(admin: &Admin, listeners: &[Written], problems: &mut Vec<Problem>) {
    let at = At::root().key("admin");
    if let ListenAddress::Tcp(address) = &admin.address
        && !address.ip().is_loopback()
        && admin.token.is_none()
    {
        problems.push(
            Problem::error(
                at.key("address"),
                format!("the admin listener at `{address}` can be reached from outside, so it needs a token"),
            )
            .hint("write `token: ${ADMIN_TOKEN}`, or an address on 127.0.0.1"),
        );
    }
    if admin.token.as_ref().is_some_and(|token| token.0.trim().len() < SHORTEST_TOKEN) {
        let message = format!("the admin token is shorter than {SHORTEST_TOKEN} characters: it can be guessed");
        problems.push(Problem::error(at.key("token"), message).hint("make one with `openssl rand -hex 16`"));
    }
    let port = |address: &ListenAddress| match address {
        ListenAddress::Tcp(address) if address.port() != 0 => Some(address.port()),
        ListenAddress::Tcp(_) | ListenAddress::Unix(_) => None,
    };
    for (index, listener) in listeners.iter().enumerate() {
        let same_port = port(&listener.address).is_some_and(|number| port(&admin.address) == Some(number));
        // Not so with port 0: the system chooses one for each.
        let same_file = matches!(admin.address, ListenAddress::Unix(_)) && listener.address == admin.address;
        if same_file || (same_port && overlap(&listener.address, &admin.address)) {
            let at = At::root().key("listeners").index(index).key("address");
            let message = format!("`{}` is the admin listener's address too", listener.address);
            problems.push(Problem::error(at, message).hint("give one of them another port"));
        }
    }
}

/// Whether one of two addresses of the same port takes in the other.
fn overlap(one: &ListenAddress, other: &ListenAddress) -> bool {
    match (one, other) {
        (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => {
            one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified()
        }
        (ListenAddress::Tcp(_) | ListenAddress::Unix(_), _) => false,
    }
}

/// 16 characters of hexadecimal are 64 bits.
const SHORTEST_TOKEN: usize = 16;
