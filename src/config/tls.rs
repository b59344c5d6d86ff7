//! `tls` of a listener: its certificates, and who has to show one.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::store::File;

/// TLS of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificates. Which names each is for stands in it; the first is for every other name as well. Two for one name may
    /// have keys of different kinds: clients get the one they can verify, ECDSA before RSA.
    #[schemars(length(min = 1))]
    pub certificates: Vec<Certificate>,
    /// The least version that is spoken: "1.2" or "1.3". Default: "1.2".
    #[serde(default)]
    pub min_version: TlsVersion,
    /// Who has to show a certificate. Absent: nobody is asked.
    #[serde(default)]
    pub client_auth: Option<ClientAuth>,
}

/// A certificate of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The file with the certificate (PEM), and behind it those that lead from it to its authority; it is watched.
    pub certificate: File,
    /// The file with its private key (PEM); it is watched.
    pub key: File,
    /// The least version for its names. Absent: the listener's.
    #[serde(default)]
    pub min_version: Option<TlsVersion>,
    /// Who has to show a certificate for its names. Absent: as the listener has it.
    #[serde(default)]
    pub client_auth: Option<ClientAuth>,
    /// The file with the authority's word that the certificate is not revoked (an OCSP response, DER), stapled to it; it is
    /// watched. Absent: none.
    #[serde(default)]
    pub ocsp: Option<File>,
}

/// Who has to show a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientAuth {
    /// The file with the certificates (PEM) of those who sign clients'; it is watched.
    pub ca: File,
    /// Whether a client without one is let in. Default: require.
    #[serde(default)]
    pub mode: ClientAuthMode,
}

/// Whether a client without a certificate is let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuthMode {
    /// It is not.
    #[default]
    Require,
    /// It is; one that is shown has to be right.
    Request,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

// === impl TlsVersion ===

impl<'de> Deserialize<'de> for TlsVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "1.3" => Ok(Self::Tls13),
            "1.2" => Ok(Self::Tls12),
            other => Err(serde::de::Error::custom(format!("`{other}` is not a version of TLS that is spoken here"))),
        }
    }
}

impl JsonSchema for TlsVersion {
    fn schema_name() -> Cow<'static, str> {
        "TlsVersion".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "enum": ["1.2", "1.3"] })
    }
}
