//! Our own cookie: found in a request, written for an answer (RFC 6265).

use http::HeaderValue;
use http::header::HeaderMap;

use crate::session::cookie;

/// Our cookie, in the words of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieSettings {
    /// Its name: a token.
    pub name: Box<str>,
    /// The paths that it is sent for.
    pub path: Box<str>,
    /// The domain whose hosts it is sent to; none: the host that set it, alone.
    pub domain: Option<Box<str>>,
    /// What other sites' requests carry it.
    pub same_site: SameSite,
    /// When it is kept from plain connections.
    pub secure: Secure,
    /// How many seconds the browser keeps it, from when the pin was made; none: as long as it runs.
    pub max_age: Option<u64>,
}

/// What other sites' requests carry a cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SameSite {
    /// Links that are followed to us.
    #[default]
    Lax,
    /// None.
    Strict,
    /// All.
    None,
}

/// When a cookie is kept from plain connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Secure {
    /// When the client came by TLS. And always where browsers refuse the cookie otherwise: with `SameSite=None`, and with a
    /// name that begins with `__Secure-` or `__Host-`.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Our cookie, ready to be read and written.
pub(super) struct Cookie {
    name: Box<str>,
    /// What stands before the pin in `Set-Cookie`, and after it.
    before: Box<[u8]>,
    after: Box<[u8]>,
    secure: Secure,
}

// === impl Cookie ===

impl Cookie {
    pub(super) fn new(settings: &CookieSettings) -> Self {
        let CookieSettings { name, path, domain, same_site, secure, max_age } = settings;
        let mut after = format!("; Path={path}");
        if let Some(domain) = domain {
            after.push_str("; Domain=");
            after.push_str(domain);
        }
        if let Some(seconds) = max_age {
            after.push_str(&format!("; Max-Age={seconds}"));
        }
        after.push_str(match same_site {
            SameSite::Lax => "; HttpOnly; SameSite=Lax",
            SameSite::Strict => "; HttpOnly; SameSite=Strict",
            SameSite::None => "; HttpOnly; SameSite=None",
        });
        let lower = name.to_ascii_lowercase();
        let demanded = *same_site == SameSite::None || lower.starts_with("__secure-") || lower.starts_with("__host-");
        let secure = if *secure == Secure::Auto && demanded { Secure::Always } else { *secure };
        let before = format!("{name}=").into_bytes().into();
        Self { name: name.clone(), before, after: after.into_bytes().into(), secure }
    }

    /// The values of all cookies of our name. Nothing is decoded: our own values are plain letters, and whatever isn't is not
    /// ours.
    pub(super) fn values<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a [u8]> {
        cookie::values(headers, &self.name)
    }

    /// The `Set-Cookie` that gives out `pin`; `tls`: the client came by TLS.
    pub(super) fn set(&self, pin: &[u8], tls: bool) -> Option<HeaderValue> {
        let secure: &[u8] = match self.secure {
            Secure::Auto if tls => b"; Secure",
            Secure::Always => b"; Secure",
            Secure::Auto | Secure::Never => b"",
        };
        let line = [&*self.before, pin, &*self.after, secure].concat();
        // What can't stand in a header was refused with the configuration.
        HeaderValue::from_maybe_shared(bytes::Bytes::from(line)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> CookieSettings {
        CookieSettings {
            name: "srv".into(),
            path: "/".into(),
            domain: None,
            same_site: SameSite::Lax,
            secure: Secure::Auto,
            max_age: None,
        }
    }

    fn set(settings: &CookieSettings, tls: bool) -> String {
        Cookie::new(settings).set(b"PIN", tls).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn a_cookie_is_safe_by_default() {
        assert_eq!(set(&settings(), false), "srv=PIN; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(set(&settings(), true), "srv=PIN; Path=/; HttpOnly; SameSite=Lax; Secure");
    }

    #[test]
    fn each_attribute_is_written_as_asked() {
        let all = CookieSettings {
            path: "/app".into(),
            domain: Some("example.com".into()),
            same_site: SameSite::Strict,
            secure: Secure::Always,
            max_age: Some(3600),
            ..settings()
        };
        let expected = "srv=PIN; Path=/app; Domain=example.com; Max-Age=3600; HttpOnly; SameSite=Strict; Secure";
        assert_eq!(set(&all, false), expected);
        let never = CookieSettings { secure: Secure::Never, ..settings() };
        assert_eq!(set(&never, true), "srv=PIN; Path=/; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn what_browsers_refuse_without_secure_has_it() {
        let none = CookieSettings { same_site: SameSite::None, ..settings() };
        assert_eq!(set(&none, false), "srv=PIN; Path=/; HttpOnly; SameSite=None; Secure");
        for name in ["__Host-srv", "__Secure-srv", "__host-srv"] {
            let prefixed = CookieSettings { name: name.into(), ..settings() };
            assert!(set(&prefixed, false).ends_with("; Secure"), "{name}");
        }
    }
}
