//! JSON Web Tokens in their compact form (RFC 7515, RFC 7519): HS256, RS256 and ES256, and nothing else.

use super::{id::Secret, jwks::Jwks};

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
