//! A JWKS file (RFC 7517): the public keys of whoever signs tokens.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::Value;

/// What ring checks RSA signatures with at all, in bits of the modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Public keys, of which each checks one kind of signature. Never empty unless it is the default.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Jwks(pub(super) Box<[PublicKey]>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PublicKey {
    /// The name that a token calls it by.
    pub(super) kid: Option<Box<str>>,
    pub(super) material: Material,
}

/// What its signatures are checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Material {
    /// RS256: modulus and exponent, big-endian without leading zeros.
    Rsa { n: Box<[u8]>, e: Box<[u8]> },
    /// ES256: an uncompressed point.
    P256(Box<[u8]>),
}

#[derive(Deserialize)]
struct File {
    keys: Vec<Value>,
}

/// An entry as it is written; what else it has is none of our business (RFC 7517 section 4).
#[derive(Deserialize)]
struct Written {
    kty: String,
    kid: Option<Box<str>>,
    alg: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

// === impl Jwks ===

impl Jwks {
    /// Reads a JWKS file. Entries for other purposes and of kinds that we don't check are passed over, as RFC 7517 has it.
    ///
    /// # Errors
    /// Why it holds no key that can be used, as a sentence.
    pub fn parse(file: &[u8]) -> Result<Self, String> {
        let File { keys } = serde_json::from_slice(file)
            .map_err(|error| format!("is no JWKS file, which looks like `{{\"keys\": [..]}}`: {error}"))?;
        let mut reasons = Vec::new();
        let mut usable = Vec::new();
        for (index, entry) in keys.into_iter().enumerate() {
            let read =
                serde_json::from_value(entry).map_err(|_| "has no `kty`, or something that is no text".to_owned());
            match read.and_then(Written::key) {
                Ok(key) => usable.push(key),
                Err(reason) => reasons.push(format!("key {} {reason}", index + 1)),
            }
        }
        if usable.is_empty() {
            let reasons = if reasons.is_empty() { "it is empty".to_owned() } else { reasons.join("; ") };
            return Err(format!("holds no key that RS256 or ES256 can be checked with: {reasons}"));
        }
        Ok(Self(usable.into()))
    }
}

// === impl Written ===

impl Written {
    fn key(self) -> Result<PublicKey, String> {
        if self.r#use.as_deref().is_some_and(|purpose| purpose != "sig") {
            return Err("is not for signatures".to_owned());
        }
        if self.key_ops.is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
            return Err("is not for checking signatures".to_owned());
        }
        let (material, alg) = match self.kty.as_str() {
            "RSA" => (rsa(self.n.as_deref(), self.e.as_deref())?, "RS256"),
            "EC" => (p256(self.crv.as_deref(), self.x.as_deref(), self.y.as_deref())?, "ES256"),
            "oct" => return Err("is a secret, which has no place in a file of public keys: write `secrets`".to_owned()),
            other => return Err(format!("is of kind `{other}`: use RSA, or EC with P-256")),
        };
        match self.alg {
            Some(other) if other != alg => Err(format!("is for {other}, not for {alg}")),
            _ => Ok(PublicKey { kid: self.kid, material }),
        }
    }
}

fn rsa(n: Option<&str>, e: Option<&str>) -> Result<Material, String> {
    let number = |text: Option<&str>, name: &str| {
        let bytes = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let bytes = bytes.ok_or_else(|| format!("has no `{name}`, or none in base64url"))?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        Ok::<Box<[u8]>, String>(bytes[zeros..].into())
    };
    let (n, e) = (number(n, "n")?, number(e, "e")?);
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err(format!("has {bits} bits: use RSA of {} to {}", RSA_BITS.start(), RSA_BITS.end()));
    }
    // ring takes odd exponents of 3 to 33 bits' length.
    let odd = e.last().is_some_and(|last| last % 2 == 1);
    let fit = odd && *e != [1] && (e.len() < 5 || (e.len() == 5 && e[0] == 1));
    if fit { Ok(Material::Rsa { n, e }) } else { Err("has an exponent that is out of the ordinary".to_owned()) }
}

fn p256(curve: Option<&str>, x: Option<&str>, y: Option<&str>) -> Result<Material, String> {
    if curve != Some("P-256") {
        return Err(format!("is on curve `{}`: use P-256", curve.unwrap_or_default()));
    }
    let mut point = vec![4];
    for (coordinate, name) in [(x, "x"), (y, "y")] {
        let bytes = coordinate.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).filter(|bytes| bytes.len() == 32);
        point.extend(bytes.ok_or_else(|| format!("has no `{name}` of 32 bytes in base64url"))?);
    }
    Ok(Material::P256(point.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::vectors;

    fn refused(file: &str) -> String {
        Jwks::parse(file.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_file_gives_the_keys_that_can_be_used_and_passes_over_the_others() {
        assert_eq!(Jwks::parse(vectors::JWKS.as_bytes()).unwrap().0.len(), 2);
        let more = vectors::JWKS.replacen(
            "{\"keys\":[",
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA"},{"kty":"oct","k":"AA"},{"kty":7},{},8,"#,
            1,
        );
        assert_eq!(Jwks::parse(more.as_bytes()), Jwks::parse(vectors::JWKS.as_bytes()));
    }

    #[test]
    fn keys_for_other_purposes_are_passed_over() {
        for (from, to) in [
            (r#""use":"sig""#, r#""use":"enc""#),
            (r#""use":"sig""#, r#""key_ops":["encrypt"]"#),
            (r#""alg":"RS256""#, r#""alg":"RS512""#),
            (r#""crv":"P-256""#, r#""crv":"P-384""#),
            (r#""e":"AQAB""#, r#""e":"AQ""#),
            (r#""e":"AQAB""#, r#""e":"AQAA""#),
            (r#""e":"AQAB""#, r#""e":"AQAAAAAB""#),
            (r#""y":""#, r#""y":"AA"#),
        ] {
            assert!(vectors::JWKS.contains(from));
            assert_eq!(Jwks::parse(vectors::JWKS.replacen(from, to, 1).as_bytes()).unwrap().0.len(), 1, "{to}");
        }
    }

    #[test]
    fn a_file_without_a_usable_key_says_why() {
        assert!(refused("").starts_with("is no JWKS file"));
        assert!(refused("[]").starts_with("is no JWKS file"));
        assert!(refused(r#"{"kty":"RSA"}"#).starts_with("is no JWKS file"));
        assert!(refused(r#"{"keys":[]}"#).ends_with("it is empty"));
        assert!(refused(r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#).contains("key 1 is a secret"));
        assert!(refused(vectors::JWKS_OF_1024_BITS).ends_with("key 1 has 1024 bits: use RSA of 2048 to 8192"));
        assert!(
            refused(r#"{"keys":[{"kty":"EC","crv":"P-521"},{"kty":"x"}]}"#)
                .contains("P-521`: use P-256; key 2 is of kind")
        );
        assert!(refused(r#"{"keys":[{"kty":"RSA","n":"+/==","e":"AQAB"}]}"#).contains("has no `n`"));
    }
}
