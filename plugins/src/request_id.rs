//! `request_id`: gives every request an id, the same towards the endpoint, the client and the access log.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderName, HeaderValue};
use pingora_http::ResponseHeader;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::plugin::{BuildError, Exchange, Hooks, Plugin, PluginError, Verdict};

/// The longest id taken from a client: four times our own, and short enough for any log.
const LONGEST: usize = 128;

/// Gives every request an id.
#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// The header that carries the id, on the request to the endpoint and on the response. Default: x-request-id.
    header: String,
    /// Keep the id a client sends, if it has at most 128 letters, digits and `-_.:+/=`. Default: false, every
    /// request gets an id of ours.
    trust: bool,
}

/// The plugin.
pub(crate) struct RequestId {
    header: HeaderName,
    trust: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config { header: "x-request-id".to_owned(), trust: false }
    }
}

// === impl RequestId ===

impl Plugin for RequestId {
    const NAME: &'static str = "request_id";
    type Config = Config;

    fn build(config: Config) -> Result<Self, BuildError> {
        let header = crate::headers::settable(&config.header).map_err(|error| error.within("header"))?;
        Ok(RequestId { header, trust: config.trust })
    }

    fn hooks(&self) -> Hooks {
        Hooks::REQUEST | Hooks::RESPONSE
    }

    async fn on_request(&self, exchange: &mut Exchange<'_>) -> Result<Verdict, PluginError> {
        let sent = exchange.request.headers.get(&self.header).filter(|id| self.trust && acceptable(id.as_bytes()));
        let id = match sent {
            Some(id) => id.clone(),
            None => made()?,
        };
        exchange
            .request
            .insert_header(self.header.clone(), id.clone())
            .map_err(|error| PluginError::new(error.to_string()))?;
        *exchange.request_id = Some(id);
        Ok(Verdict::Continue)
    }

    fn on_response(&self, exchange: &mut Exchange<'_>, response: &mut ResponseHeader) -> Result<(), PluginError> {
        let Some(id) = exchange.request_id.as_ref() else { return Ok(()) };
        response.insert_header(self.header.clone(), id.clone()).map_err(|error| PluginError::new(error.to_string()))
    }
}

/// An id that can stand in a log line or a shell command without quoting.
fn acceptable(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len()) && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:+/=".contains(byte))
}

/// A version 7 UUID: it sorts by time, and two requests of one millisecond differ in 74 random bits.
fn made() -> Result<HeaderValue, PluginError> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = since.as_millis() & 0xffff_ffff_ffff;
    const VERSION: u128 = 0x7 << 76;
    const VARIANT: u128 = 0b10 << 62;
    const RANDOM: u128 = (0xfff << 64) | ((1 << 62) - 1);
    let id = (millis << 80) | VERSION | VARIANT | (fastrand::u128(..) & RANDOM);
    let text = format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        id >> 96,
        (id >> 80) & 0xffff,
        (id >> 64) & 0xffff,
        (id >> 48) & 0xffff,
        id & 0xffff_ffff_ffff
    );
    HeaderValue::try_from(text).map_err(|error| PluginError::new(error.to_string()))
}

#[cfg(test)]
mod tests {
    use crate::plugin::tests::{Request, built};

    #[tokio::test]
    async fn endpoint_client_and_log_see_one_id() {
        let mut request = Request::new();
        let chain = built("request_id", serde_json::Value::Null);
        chain.on_request(&mut request.exchange()).await.unwrap();
        let id = request.header("x-request-id");
        assert_eq!(request.request_id.as_ref().unwrap(), id.as_str());
        assert_eq!(request.response(&chain).headers["x-request-id"], id.as_str());
    }

    #[tokio::test]
    async fn ids_are_version_7_uuids_that_differ() {
        let chain = built("request_id", serde_json::Value::Null);
        let mut ids = Vec::new();
        for _ in 0..100 {
            let mut request = Request::new();
            chain.on_request(&mut request.exchange()).await.unwrap();
            let id = request.header("x-request-id");
            let groups: Vec<_> = id.split('-').map(str::len).collect();
            assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
            assert!(id.as_bytes()[14] == b'7' && b"89ab".contains(&id.as_bytes()[19]), "{id}");
            assert!(id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()), "{id}");
            ids.push(id);
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 100);
    }

    #[tokio::test]
    async fn a_client_s_id_is_replaced_unless_trusted_and_harmless() {
        let long = "x".repeat(129);
        for (trust, sent, kept) in [
            (false, "abc-1", false),
            (true, "abc-1", true),
            (true, "01HF.v=/+_:x", true),
            (true, "", false),
            (true, "two words", false),
            (true, "$(reboot)", false),
            (true, &long, false),
            (true, &long[1..], true),
        ] {
            let mut request = Request::new();
            request.head.insert_header("x-request-id", sent).unwrap();
            request.head.append_header("x-request-id", "second").unwrap();
            let chain = built("request_id", serde_json::json!({ "trust": trust }));
            chain.on_request(&mut request.exchange()).await.unwrap();
            assert_eq!(request.header("x-request-id") == sent, kept, "{trust} {sent}");
            assert_eq!(request.head.headers.get_all("x-request-id").iter().count(), 1);
        }
    }

    #[test]
    fn the_header_must_be_one_that_may_be_set() {
        let build = |header: &str| crate::builtin().build("request_id", serde_json::json!({ "header": header }));
        assert!(build("x-correlation-id").is_ok());
        assert_eq!(
            build("Host").err().unwrap().to_string(),
            "header: `host` chooses the site: write `host_header` at the upstream instead"
        );
    }
}
