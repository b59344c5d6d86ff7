//! JSON Web Tokens in their compact form (RFC 7515, RFC 7519): HS256, RS256 and ES256, and nothing else.
//!
//! What signs is decided by the keys that were configured: a token only says which kind it claims, and a kind without a key
//! of its own kind is refused. So `none`, or an HMAC keyed with a public key, has nothing to be checked with.

use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{digest, hmac, signature};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, IgnoredAny},
};

use super::{
    id::{Secret, SessionId},
    jwks::{Jwks, Material},
};

/// Longer tokens are refused unread: headers of many servers end here.
const MAX_TOKEN: usize = 8192;

/// How much earlier than its `nbf` a token is taken, because clocks differ. Its `exp` is kept to the second: a session that is
/// over is over.
const EARLY: f64 = 30.0;

/// Who may sign tokens, and what they must say.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct JwtSettings {
    /// For HS256: any of them verifies.
    pub secrets: Vec<Secret>,
    /// For RS256 and ES256.
    pub keys: Jwks,
    /// What `iss` must be.
    pub issuer: Option<Box<str>>,
    /// What `aud` must be or hold.
    pub audience: Option<Box<str>>,
}

/// Judges tokens.
pub(super) struct Jwt {
    secrets: Box<[hmac::Key]>,
    settings: JwtSettings,
    /// Whether each must have a `jti`, because it may have been revoked by it.
    revocable: bool,
}

/// What a token is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// Not signed with our keys, not for us, or not readable.
    Forged,
    /// Ours, but expired or not valid yet.
    Over,
    /// Ours and valid.
    Valid {
        /// Its `jti`, or a digest of what is signed.
        id: SessionId,
        /// Its claims, a JSON object.
        claims: Vec<u8>,
        /// How much longer it is valid; none: for ever.
        left: Option<Duration>,
    },
}

/// The parts of a token's header that decide. A name that stands there twice is refused.
#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default, deserialize_with = "some")]
    kid: Option<String>,
    /// Names extensions that must be understood (RFC 7515 section 4.1.11); we understand none.
    #[serde(default, deserialize_with = "there")]
    crit: bool,
    /// Encrypted (RFC 7516), which is something else.
    #[serde(default, deserialize_with = "there")]
    enc: bool,
}

/// The claims that decide. A name that stands there twice, or with another type than RFC 7519 gives it, is refused.
#[derive(Deserialize)]
struct Claims {
    #[serde(default, deserialize_with = "some")]
    exp: Option<f64>,
    #[serde(default, deserialize_with = "some")]
    nbf: Option<f64>,
    #[serde(default, deserialize_with = "some")]
    iss: Option<String>,
    #[serde(default, deserialize_with = "some")]
    aud: Option<Audience>,
    #[serde(default, deserialize_with = "some")]
    jti: Option<String>,
}

/// `aud`: one, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

// === impl Jwt ===

impl Jwt {
    pub(super) fn new(settings: JwtSettings, revocable: bool) -> Self {
        Self { secrets: settings.secrets.iter().map(Secret::hmac).collect(), settings, revocable }
    }

    /// What `token` is at `now`.
    pub(super) fn judge(&self, token: &[u8], now: SystemTime) -> Token {
        let Some((signed, claims)) = self.verified(token) else { return Token::Forged };
        let Some(read) = object::<Claims>(&claims) else { return Token::Forged };
        let Some(id) = self.id(&read, signed) else { return Token::Forged };
        if !self.is_for_us(&read) {
            return Token::Forged;
        }
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        if read.nbf.is_some_and(|nbf| now + EARLY < nbf) || read.exp.is_some_and(|exp| exp <= now) {
            return Token::Over;
        }
        // What is too far away for a duration is for ever.
        let left = read.exp.and_then(|exp| Duration::try_from_secs_f64(exp - now).ok());
        Token::Valid { id, claims, left }
    }

    /// What was signed, and the claims in it, if the signature is right.
    fn verified<'t>(&self, token: &'t [u8]) -> Option<(&'t [u8], Vec<u8>)> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let mut parts = token.splitn(4, |byte| *byte == b'.');
        let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let signed = &token[..header.len() + 1 + claims.len()];
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let header = URL_SAFE_NO_PAD.decode(header).ok()?;
        let header = object::<Header>(&header)?;
        if header.crit || header.enc || !self.is_signed(&header, signed, &signature) {
            return None;
        }
        Some((signed, URL_SAFE_NO_PAD.decode(claims).ok()?))
    }

    fn is_signed(&self, header: &Header, signed: &[u8], signature: &[u8]) -> bool {
        // A key without a name may be the one that is meant; one with another name is not.
        let named = |name: &Option<Box<str>>| match (name, &header.kid) {
            (Some(name), Some(kid)) => **name == **kid,
            _ => true,
        };
        let mut keys = self.settings.keys.0.iter().filter(|key| named(&key.kid)).map(|key| &key.material);
        match header.alg.as_str() {
            // Secrets have no names, so a `kid` says nothing of them.
            "HS256" => self.secrets.iter().any(|key| hmac::verify(key, signed, signature).is_ok()),
            "RS256" => keys.any(|key| match key {
                Material::Rsa { n, e } => signature::RsaPublicKeyComponents { n, e }
                    .verify(&signature::RSA_PKCS1_2048_8192_SHA256, signed, signature)
                    .is_ok(),
                Material::P256(_) => false,
            }),
            "ES256" => keys.any(|key| match key {
                Material::P256(point) => signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                    .verify(signed, signature)
                    .is_ok(),
                Material::Rsa { .. } => false,
            }),
            _ => false,
        }
    }

    fn id(&self, claims: &Claims, signed: &[u8]) -> Option<SessionId> {
        match &claims.jti {
            Some(jti) => SessionId::new(jti.as_bytes()),
            None if self.revocable => None,
            // Of what is signed, because one who has a signature by ECDSA can make another.
            None => {
                let digest = digest::digest(&digest::SHA256, signed);
                SessionId::new(URL_SAFE_NO_PAD.encode(digest).as_bytes())
            }
        }
    }

    fn is_for_us(&self, claims: &Claims) -> bool {
        let issuer = self.settings.issuer.as_deref().is_none_or(|issuer| claims.iss.as_deref() == Some(issuer));
        issuer
            && self.settings.audience.as_deref().is_none_or(|audience| match &claims.aud {
                Some(Audience::One(one)) => one == audience,
                Some(Audience::Many(many)) => many.iter().any(|one| one == audience),
                None => false,
            })
    }
}

/// Reads a JSON object; serde would take a list for one as well.
fn object<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    json.trim_ascii_start().starts_with(b"{").then(|| serde_json::from_slice(json).ok()).flatten()
}

/// A value where there is one: null is not nothing.
fn some<'de, T: Deserialize<'de>, D: Deserializer<'de>>(value: D) -> Result<Option<T>, D::Error> {
    match Option::deserialize(value)? {
        Some(value) => Ok(Some(value)),
        None => Err(D::Error::custom("null")),
    }
}

fn there<'de, D: Deserializer<'de>>(value: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(value).map(|_| true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::vectors;

    const CLAIMS: &str = r#"{"jti":"a","exp":2000,"nbf":1000}"#;
    const HEADER: &str = r#"{"alg":"HS256"}"#;

    fn at(seconds: f64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds)
    }

    fn settings() -> JwtSettings {
        JwtSettings {
            secrets: vec![Secret::new(b"another"), Secret::new(b"keyboard cat")],
            keys: Jwks::parse(vectors::JWKS.as_bytes()).unwrap(),
            issuer: None,
            audience: None,
        }
    }

    fn public_only() -> JwtSettings {
        JwtSettings { secrets: Vec::new(), ..settings() }
    }

    fn signed(header: &str, claims: &str) -> String {
        let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let tag = hmac::sign(&Secret::new(b"keyboard cat").hmac(), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    fn judge(settings: JwtSettings, token: &str, seconds: f64) -> Token {
        Jwt::new(settings, false).judge(token.as_bytes(), at(seconds))
    }

    fn claims(claims: &str) -> Token {
        judge(settings(), &signed(HEADER, claims), 1500.0)
    }

    fn is_valid(token: &Token) -> bool {
        matches!(token, Token::Valid { .. })
    }

    #[test]
    fn what_node_signed_is_valid() {
        for token in [vectors::HS256, vectors::RS256, vectors::ES256, vectors::RS256_WITHOUT_KID] {
            let Token::Valid { id, claims, left } = judge(settings(), token, 1_800_000_000.0) else {
                panic!("{token}")
            };
            assert_eq!((id.as_str(), left), ("token-1", Some(Duration::from_secs(100_000_000))));
            assert!(claims.starts_with(b"{\"iss\""));
        }
    }

    #[test]
    fn a_signature_of_another_kind_or_key_is_refused() {
        for token in [
            vectors::HS256_WITH_PUBLIC_KEY,
            vectors::HS256_WITH_MODULUS,
            vectors::RS256_WITH_KID_OF_ANOTHER,
            vectors::ES256_IN_DER,
            vectors::PS256,
        ] {
            assert_eq!(judge(settings(), token, 1_800_000_000.0), Token::Forged);
            assert_eq!(judge(public_only(), token, 1_800_000_000.0), Token::Forged);
        }
        assert_eq!(judge(public_only(), vectors::HS256, 1_800_000_000.0), Token::Forged);
        let secrets = JwtSettings { keys: Jwks::default(), ..settings() };
        assert_eq!(judge(secrets.clone(), vectors::RS256, 1_800_000_000.0), Token::Forged);
        assert_eq!(judge(secrets, vectors::ES256, 1_800_000_000.0), Token::Forged);
        for alg in ["none", "None", "", "HS384", "HS512", "hs256", "RS384", "ES384", "EdDSA", "HS256 "] {
            assert_eq!(judge(settings(), &signed(&format!(r#"{{"alg":"{alg}"}}"#), CLAIMS), 1500.0), Token::Forged);
        }
        let unsigned = [r#"{"alg":"none"}"#, CLAIMS].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        assert_eq!(judge(settings(), &format!("{unsigned}."), 1500.0), Token::Forged);
        assert_eq!(judge(settings(), &unsigned, 1500.0), Token::Forged);
    }

    #[test]
    fn a_header_that_asks_for_more_than_we_know_is_refused() {
        assert!(is_valid(&judge(settings(), &signed(r#"{"alg":"HS256","kid":"x","typ":"at+jwt"}"#, CLAIMS), 1500.0)));
        for header in [
            r#"{"alg":"HS256","crit":["exp"]}"#,
            r#"{"alg":"HS256","crit":null}"#,
            r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
            r#"{"alg":"HS256","enc":"A128GCM"}"#,
            r#"{"alg":"none","alg":"HS256"}"#,
            r#"{"alg":"HS256","alg":"HS256"}"#,
            r#"{"alg":["HS256"]}"#,
            r#"{"alg":"HS256","kid":7}"#,
            r#"{"alg":"HS256","kid":null}"#,
            r#"["HS256",null,false,false]"#,
            r#"{"typ":"JWT"}"#,
            "{}",
            "",
        ] {
            assert_eq!(judge(settings(), &signed(header, CLAIMS), 1500.0), Token::Forged, "{header}");
        }
    }

    #[test]
    fn a_token_that_was_touched_is_refused() {
        let token = signed(HEADER, CLAIMS);
        let (head, signature) = token.rsplit_once('.').unwrap();
        let (header, claims) = head.split_once('.').unwrap();
        for bad in [
            String::new(),
            ".".into(),
            "..".into(),
            "...".into(),
            head.into(),
            format!("{token}="),
            format!("{token}."),
            format!(".{token}"),
            format!(" {token}"),
            format!("{token}.{signature}.{signature}"),
            format!("{header}=.{claims}.{signature}"),
            format!("{header}.{claims}=.{signature}"),
            format!("{header}.{claims}.{}", &signature[..42]),
            format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(r#"{"jti":"b"}"#)),
            format!("{header}.{claims}.{}", signature.to_uppercase()),
            signed(HEADER, &format!(r#"{{"jti":"a","x":"{}"}}"#, "x".repeat(8000))),
        ] {
            assert_eq!(judge(settings(), &bad, 1500.0), Token::Forged, "{bad}");
        }
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(Jwt::new(settings(), false).judge(&bytes, self::at(1500.0)), Token::Forged, "{at}");
        }
    }

    #[test]
    fn a_token_is_valid_from_nbf_to_exp() {
        let token = signed(HEADER, CLAIMS);
        for (seconds, valid) in
            [(0.0, false), (969.0, false), (970.0, true), (1999.9, true), (2000.0, false), (9000.0, false)]
        {
            let judged = judge(settings(), &token, seconds);
            assert_eq!(is_valid(&judged), valid, "{seconds}");
            assert!(valid || judged == Token::Over);
        }
        let Token::Valid { left, .. } = judge(settings(), &token, 1999.5) else { panic!() };
        assert_eq!(left, Some(Duration::from_millis(500)));
        assert!(matches!(claims(r#"{"jti":"a"}"#), Token::Valid { left: None, .. }));
        assert!(matches!(claims(r#"{"exp":1e300}"#), Token::Valid { left: None, .. }));
        assert!(is_valid(&claims(r#"{"exp":1500.5}"#)));
        assert_eq!(claims(r#"{"exp":-1}"#), Token::Over);
        assert_eq!(claims(r#"{"exp":1499.5}"#), Token::Over);
        assert_eq!(claims(r#"{"nbf":1e300}"#), Token::Over);
    }

    #[test]
    fn claims_of_the_wrong_type_are_refused() {
        for bad in [
            r#"{"exp":"2000"}"#,
            r#"{"exp":null}"#,
            r#"{"exp":[2000]}"#,
            r#"{"exp":true}"#,
            r#"{"exp":1e999}"#,
            r#"{"exp":NaN}"#,
            r#"{"nbf":"1000"}"#,
            r#"{"exp":1000,"exp":2000}"#,
            r#"{"jti":"a","jti":"b"}"#,
            r#"{"jti":7}"#,
            r#"{"jti":""}"#,
            r#"{"jti":"a b"}"#,
            r#"{"aud":{}}"#,
            r#"{"iss":null}"#,
            "[]",
            "[2000]",
            "7",
            "null",
            "\"x\"",
            "",
            "{",
            "{}x",
        ] {
            assert_eq!(claims(bad), Token::Forged, "{bad}");
        }
    }

    #[test]
    fn a_token_must_be_of_the_issuer_and_for_the_audience() {
        let ours = || JwtSettings { issuer: Some("us".into()), audience: Some("shop".into()), ..settings() };
        for (claims, valid) in [
            (r#"{"iss":"us","aud":"shop"}"#, true),
            (r#"{"iss":"us","aud":["other","shop"]}"#, true),
            (r#"{"iss":"them","aud":"shop"}"#, false),
            (r#"{"iss":"us","aud":"other"}"#, false),
            (r#"{"iss":"us","aud":"shop2"}"#, false),
            (r#"{"iss":"us","aud":[]}"#, false),
            (r#"{"iss":["us"],"aud":"shop"}"#, false),
            (r#"{"iss":"us","aud":"other","aud":"shop"}"#, false),
            (r#"{"iss":"us"}"#, false),
            (r#"{"aud":"shop"}"#, false),
            ("{}", false),
        ] {
            let judged = judge(ours(), &signed(HEADER, claims), 1500.0);
            assert_eq!(is_valid(&judged), valid, "{claims}");
        }
    }

    #[test]
    fn a_token_without_a_name_has_a_digest_for_an_id_unless_it_could_be_revoked_by_its_name() {
        let id = |token: &Token| match token {
            Token::Valid { id, .. } => id.as_str().to_owned(),
            Token::Forged | Token::Over => panic!(),
        };
        let [one, other] = [r#"{"sub":"ann"}"#, r#"{"sub":"bob"}"#].map(|text| id(&claims(text)));
        assert_eq!(one.len(), 43);
        assert_ne!(one, other);
        let token = signed(HEADER, r#"{"sub":"ann"}"#);
        assert_eq!(Jwt::new(settings(), true).judge(token.as_bytes(), at(1500.0)), Token::Forged);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_pass(token in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(Jwt::new(settings(), false).judge(&token, at(1500.0)), Token::Forged);
        }

        #[test]
        fn no_signed_claims_panic(text in r#"\{"(exp|nbf|iss|aud|jti|x)":[\{\}\[\]a-z":,.0-9e\-]{0,30}\}"#) {
            let _ = claims(&text);
        }
    }
}
