//! A pin: what our cookie says of an endpoint, so that only we can say it and nobody can read it.
//!
//! It is an HMAC over the upstream's name and the endpoint's id, so it holds no address and no index, and every gateway
//! with the same secret makes the same one, before and after a restart, in whatever order the endpoints are written.
//! Those of all endpoints are made when the configuration is compiled: a request costs one look-up.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use crate::endpoint::EndpointId;

/// 16 bytes in base64url: 128 bits, which nobody guesses.
const LENGTH: usize = 22;

/// Keeps these HMACs apart from whatever else may be made with the same secrets.
const PURPOSE: &[u8] = b"headgate sticky v1";

/// The keys of the cookies that we make: the first signs, all verify.
#[derive(Clone, Default)]
pub struct CookieKeys(Arc<[hmac::Key]>);

/// Whether a pin was made for a request whose session lived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There was none, or nobody asked.
    WithoutSession,
    /// It did, and the pin ends with it.
    WithSession,
}

/// What a pin says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pin {
    /// Which of the route's targets.
    pub(super) target: usize,
    /// Which of its endpoints, in the order of the file.
    pub(super) endpoint: usize,
    pub(super) kind: Kind,
}

/// A pin as a client sees it.
type Text = [u8; LENGTH];

/// The pins of all endpoints of a route.
pub(super) struct Pins {
    known: HashMap<Text, Pin>,
    /// By target, endpoint and kind.
    made: Box<[Vec<[Text; 2]>]>,
}

// === impl CookieKeys ===

impl CookieKeys {
    /// Keys of these secrets, in their order.
    pub fn new<S: AsRef<[u8]>>(secrets: impl IntoIterator<Item = S>) -> Self {
        Self(secrets.into_iter().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_ref())).collect())
    }
}

impl fmt::Debug for CookieKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CookieKeys({} of them)", self.0.len())
    }
}

// === impl Kind ===

impl Kind {
    const ALL: [Self; 2] = [Self::WithoutSession, Self::WithSession];
}

// === impl Pins ===

impl Pins {
    /// The pins of the endpoints of these targets, each an upstream's name and its endpoints.
    pub(super) fn new(keys: &CookieKeys, targets: &[(Arc<str>, Vec<EndpointId>)]) -> Self {
        let mut known = HashMap::new();
        // From the oldest key to the first, so that the text that is left is the one to be given out.
        let mut made: Box<[_]> = targets.iter().map(|(_, endpoints)| vec![[[0; LENGTH]; 2]; endpoints.len()]).collect();
        for key in keys.0.iter().rev() {
            for (target, (upstream, endpoints)) in targets.iter().enumerate() {
                for (endpoint, id) in endpoints.iter().enumerate() {
                    for kind in Kind::ALL {
                        let text = text(key, upstream, id, kind);
                        made[target][endpoint][kind as usize] = text;
                        // An upstream that is a target twice: its first place counts.
                        known.entry(text).or_insert(Pin { target, endpoint, kind });
                    }
                }
            }
        }
        Self { known, made }
    }

    /// What `value` says; none if it is no pin of these endpoints.
    ///
    /// Guesses can't be timed byte by byte: what is compared first is a hash with a random key.
    pub(super) fn read(&self, value: &[u8]) -> Option<Pin> {
        let value: &Text = value.try_into().ok()?;
        self.known.get(value).copied()
    }

    /// The text of a pin.
    pub(super) fn text(&self, pin: Pin) -> Option<&[u8]> {
        let text = &self.made.get(pin.target)?.get(pin.endpoint)?[pin.kind as usize];
        // Without a key there is none.
        (text[0] != 0).then_some(text)
    }
}

fn text(key: &hmac::Key, upstream: &str, endpoint: &EndpointId, kind: Kind) -> Text {
    let kind: &[u8] = match kind {
        Kind::WithoutSession => b"without",
        Kind::WithSession => b"with",
    };
    let mut context = hmac::Context::with_key(key);
    // No part holds a zero byte, so no two endpoints come to the same text.
    for part in [PURPOSE, b"\0", upstream.as_bytes(), b"\0", endpoint.as_str().as_bytes(), b"\0", kind] {
        context.update(part);
    }
    let mut text = [b'A'; LENGTH];
    // 16 bytes are 22 letters: it can't fail.
    let _ = URL_SAFE_NO_PAD.encode_slice(&context.sign().as_ref()[..16], &mut text);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn target(name: &str, endpoints: &[&str]) -> (Arc<str>, Vec<EndpointId>) {
        (name.into(), endpoints.iter().map(|id| EndpointId::new(id)).collect())
    }

    fn pins(secrets: &[&str], targets: &[(Arc<str>, Vec<EndpointId>)]) -> Pins {
        Pins::new(&CookieKeys::new(secrets), targets)
    }

    fn pin(target: usize, endpoint: usize, kind: Kind) -> Pin {
        Pin { target, endpoint, kind }
    }

    #[test]
    fn a_pin_never_changes_from_one_version_to_the_next() {
        let pins = pins(&["keyboard cat"], &[target("node", &["10.0.0.11:3000"])]);
        let text = |kind| String::from_utf8(pins.text(pin(0, 0, kind)).unwrap().to_vec()).unwrap();
        assert_eq!(text(Kind::WithoutSession), "HtOnLKu1k28VnRhXPROXPw");
        assert_eq!(text(Kind::WithSession), "Dl7ESzY3s8vjGPqAlQ4QzA");
    }

    #[test]
    fn what_is_no_pin_of_these_endpoints_says_nothing() {
        let ours = pins(&["s"], &[target("node", &["a:1", "b:1"])]);
        let text = ours.text(pin(0, 0, Kind::WithSession)).unwrap().to_vec();
        assert_eq!(ours.read(&text), Some(pin(0, 0, Kind::WithSession)));
        for other in [
            pins(&["another"], &[target("node", &["a:1", "b:1"])]),
            pins(&["s"], &[target("other", &["a:1", "b:1"])]),
            pins(&["s"], &[target("node", &["b:1"])]),
            pins(&["s"], &[]),
            pins(&[], &[target("node", &["a:1"])]),
        ] {
            assert_eq!(other.read(&text), None);
        }
        let doubled = [&text[..], &text[..]].concat();
        for bad in [&text[..21], &text[1..], &doubled, b"", b"10.0.0.11:3000", b"0", &[0xff; 22], &[0; 8192]] {
            assert_eq!(ours.read(bad), None);
        }
        let mut cased = text.clone();
        cased.iter_mut().for_each(|byte| *byte ^= 0x20);
        assert_eq!(ours.read(&cased), None);
    }

    #[test]
    fn the_first_secret_signs_and_all_verify() {
        let nodes = [target("node", &["a:1", "b:1"])];
        let (old, both, new) = (pins(&["old"], &nodes), pins(&["new", "old"], &nodes), pins(&["new"], &nodes));
        for kind in Kind::ALL {
            let pin = pin(0, 1, kind);
            assert_eq!(both.read(old.text(pin).unwrap()), Some(pin));
            assert_eq!(both.read(new.text(pin).unwrap()), Some(pin));
            assert_eq!(both.text(pin), new.text(pin));
            assert_eq!(new.read(old.text(pin).unwrap()), None);
        }
    }

    #[test]
    fn keys_are_not_printed() {
        assert_eq!(format!("{:?}", CookieKeys::new(["keyboard cat", "other"])), "CookieKeys(2 of them)");
    }

    fn ids() -> impl Strategy<Value = Vec<EndpointId>> {
        proptest::collection::btree_set("[a-z0-9.:/]{1,20}", 1..12)
            .prop_map(|ids| ids.iter().map(|id| EndpointId::new(id)).collect())
    }

    proptest! {
        /// What one gateway gave out, every other with one of the secrets reads alike, whatever stands around the endpoint.
        #[test]
        fn a_pin_holds_through_reordering_and_growth_and_on_every_replica(
            ours in ids(), more in ids(), others in ids(), seed in any::<u64>(),
            secrets in proptest::collection::vec("[ -~]{1,40}", 1..4), with in any::<bool>(),
        ) {
            let keys = CookieKeys::new(&secrets);
            let made = Pins::new(&keys, &[("node".into(), ours.clone())]);
            let mut later = ours.clone();
            later.extend(more.into_iter().filter(|id| !ours.contains(id)));
            let turn = seed as usize % later.len();
            later.rotate_left(turn);
            let keys_later = CookieKeys::new(["brand new"].into_iter().chain(secrets.iter().map(String::as_str)));
            let read = Pins::new(&keys_later, &[("canary".into(), others), ("node".into(), later.clone())]);
            let kind = if with { Kind::WithSession } else { Kind::WithoutSession };
            for (endpoint, id) in ours.iter().enumerate() {
                let text = made.text(Pin { target: 0, endpoint, kind }).unwrap();
                let found = read.read(text).unwrap();
                prop_assert_eq!(found.target, 1);
                prop_assert_eq!(&later[found.endpoint], id);
                prop_assert_eq!(found.kind, kind);
                prop_assert!(text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte)));
                if id.as_str().len() > 3 {
                    prop_assert!(!String::from_utf8_lossy(text).contains(id.as_str()));
                }
            }
        }

        #[test]
        fn nothing_that_a_client_sends_is_a_pin(value in proptest::collection::vec(any::<u8>(), 0..40)) {
            let pins = pins(&["s"], &[target("node", &["a:1"])]);
            prop_assert_eq!(pins.read(&value), None);
        }
    }
}
