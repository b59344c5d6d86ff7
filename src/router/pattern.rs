//! What of a host and a path a route is for, read from the file: the first and second step of a look-up.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

use regex::bytes::{Regex, RegexBuilder};

use super::path::PathError;
use super::{host, path};

/// What one regex may cost in memory, compiled; also the bound of its cache, one a thread. Real path patterns need a
/// few KiB, a counted repetition of a counted repetition (`(a{99}){99}`) a hundred times as much.
const REGEX_SIZE: usize = 1 << 20;

/// A host that a route is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// This host, in its normal form.
    Exact(Box<str>),
    /// Every host with one or more labels before this suffix, as in Gateway API; not the suffix itself.
    Wildcard(Box<str>),
}

/// The paths that a route is for. Made by its constructors, so that what it holds is in normal form.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum PathPattern {
    /// Every path.
    #[default]
    Any,
    /// This path and no other: `/a` is not `/a/`.
    Exact(Box<str>),
    /// This path and all below it, by whole segments; without a slash at the end, so empty for `/`.
    Prefix(Box<str>),
    /// The paths that match from end to end.
    Regex(PathRegex),
}

/// A regex over whole paths.
#[derive(Debug, Clone)]
pub struct PathRegex {
    written: Box<str>,
    pub(super) anchored: Regex,
}

/// A host or path pattern that can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    /// What is wrong, without the place: the configuration knows that.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

// === impl HostPattern ===

impl HostPattern {
    /// A `host` of the file: a name or address, or a name whose first label is `*`.
    pub fn parse(written: &str) -> Result<HostPattern, PatternError> {
        let wrong = |message: String, hint: &str| Err(PatternError::new(message, hint));
        if written == "*" {
            return wrong("`*` alone is not a host".into(), "leave `host` out to match any host");
        }
        if written.contains('/') {
            let hint = "write the name alone, such as shop.example.com; a path goes into `path` or `path_prefix`";
            return wrong(format!("`{written}` is more than a host"), hint);
        }
        if written.parse::<Ipv6Addr>().is_ok() {
            return wrong(format!("`{written}` lacks its brackets"), &format!("write \"[{written}]\""));
        }
        let port = written.rfind(':').filter(|&colon| !written[colon..].contains(']'));
        if let Some((name, _)) = port.and_then(|colon| written.split_at_checked(colon)) {
            let hint = format!("write {name}; the port is the listener's, and `listener` binds a route to one");
            return wrong(format!("a host has no port here: `{written}`"), &hint);
        }
        let (wildcard, name) = match written.strip_prefix("*.") {
            Some(suffix) => (true, suffix),
            None => (false, written),
        };
        if name.contains('*') {
            let hint = "`*` stands for one or more whole labels at the start: \"*.example.com\"";
            return wrong(format!("`{written}` has its `*` in the wrong place"), hint);
        }
        if !name.is_ascii() {
            let hint = "write the name as browsers send it, in Punycode: xn--..";
            return wrong(format!("`{written}` has letters outside ASCII"), hint);
        }
        match host::normalise(name) {
            Ok(name) if wildcard => Ok(HostPattern::Wildcard(name.into())),
            Ok(name) => Ok(HostPattern::Exact(name.into())),
            Err(error) => {
                wrong(format!("`{written}` is not a host: {error}"), "write shop.example.com or \"*.example.com\"")
            }
        }
    }
}

// === impl PathPattern ===

impl PathPattern {
    /// A `path` of the file: this path and no other.
    pub fn exact(written: &str) -> Result<PathPattern, PatternError> {
        check_literal(written)?;
        Ok(PathPattern::Exact(written.into()))
    }

    /// A `path_prefix` of the file: `/api` and `/api/` both match `/api`, `/api/` and `/api/x`, never `/apix`.
    pub fn prefix(written: &str) -> Result<PathPattern, PatternError> {
        if let Some(base) = written.strip_suffix("/*").or_else(|| written.strip_suffix("/**")) {
            let hint = format!("write {base}/; a prefix matches all below it by itself");
            return Err(PatternError::new(format!("`{written}` ends in a `*`"), hint));
        }
        check_literal(written)?;
        Ok(PathPattern::Prefix(written.strip_suffix('/').unwrap_or(written).into()))
    }

    /// A `path_regex` of the file: matches the whole normal path, from end to end, byte by byte.
    pub fn regex(written: &str) -> Result<PathPattern, PatternError> {
        if !written.is_ascii() {
            let hint = "a path is matched with its escapes: write %C3%A9 for é";
            return Err(PatternError::new(format!("`{written}` has characters outside ASCII"), hint));
        }
        check_start(written)?;
        // Compiled as written first: an anchored group around `a)|(b` would be a different regex, and the places in
        // messages are those of the file.
        compile(written)?;
        let anchored = compile(&format!(r"\A(?:{written})\z"))?;
        Ok(PathPattern::Regex(PathRegex { written: written.into(), anchored }))
    }
}

// === impl PathRegex ===

impl PathRegex {
    /// What every match begins with, up to a whole segment: enough to tell the prefixes that go before. May be shorter
    /// than the truth.
    pub(super) fn literal_prefix(&self) -> &str {
        // Alternatives would each begin differently.
        if self.written.contains('|') {
            return "";
        }
        let pattern = self.written.strip_prefix('^').unwrap_or(&self.written);
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-_~%".contains(c);
        let (literal, rest) = pattern.split_at(pattern.find(|c| !plain(c)).unwrap_or(pattern.len()));
        if matches!(rest, "" | "$") {
            return literal;
        }
        // The last character may be absent under these, the slash of `/api/?x` too.
        let sure = if rest.starts_with(['?', '*', '{']) { literal.len().saturating_sub(1) } else { literal.len() };
        // Only what a slash closed is a whole segment.
        &literal[..literal[..sure].rfind('/').unwrap_or(0)]
    }
}

impl PartialEq for PathRegex {
    fn eq(&self, other: &PathRegex) -> bool {
        self.written == other.written
    }
}

// === impl PatternError ===

impl PatternError {
    pub(super) fn new(message: impl Into<String>, hint: impl Into<String>) -> PatternError {
        PatternError { message: message.into(), hint: hint.into() }
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.hint)
    }
}

impl std::error::Error for PatternError {}

fn check_literal(written: &str) -> Result<(), PatternError> {
    let wrong = |message: &str, hint: String| Err(PatternError::new(format!("`{written}` {message}"), hint));
    if !written.starts_with('/') {
        return wrong("does not begin with `/`", format!("write /{written}"));
    }
    if let Some((path, _)) = written.split_once('?') {
        return wrong("has a query in it", format!("write {path} here and the parameters into `query`"));
    }
    let placeholder = |segment: &&str| segment.starts_with([':', '{', '*']);
    if let Some(name) = written.split('/').find(placeholder) {
        let any = |segment| match segment {
            "*" | "**" => ".*",
            _ if placeholder(&segment) => "[^/]+",
            _ => segment,
        };
        let regex = written.split('/').map(any).collect::<Vec<_>>().join("/");
        let hint = format!("write `path_regex: {regex}`, or `path_prefix` for all below a path");
        return wrong(&format!("has the placeholder `{name}` in it, but is compared letter by letter"), hint);
    }
    match path::normalise(written) {
        Ok(Cow::Borrowed(_)) => Ok(()),
        Ok(Cow::Owned(normal)) => {
            wrong("can match no request: paths are matched in their normal form", format!("write {normal}"))
        }
        Err(PathError::Byte(byte)) if byte == b' ' || !byte.is_ascii() => {
            let escape = |byte: u8| {
                if byte == b' ' || !byte.is_ascii() { format!("%{byte:02X}") } else { char::from(byte).into() }
            };
            let escaped: String = written.bytes().map(escape).collect();
            wrong("has a space or a character outside ASCII in it", format!("write it as clients send it: {escaped}"))
        }
        Err(error) => wrong(&format!("is not a path: {error}"), "requests with such a path are refused".into()),
    }
}

/// Catches what other servers' habits leave out: a regex here matches the whole path, and that begins with `/`.
fn check_start(written: &str) -> Result<(), PatternError> {
    let literal = written.strip_prefix('^').unwrap_or(written);
    let dot = literal.strip_prefix(r"\.");
    let start = dot.or_else(|| literal.strip_prefix(|c: char| c.is_ascii_alphanumeric() || "-_~%".contains(c)));
    if start.is_some_and(|rest| !rest.starts_with(['?', '*', '{'])) {
        let hint = format!("it must match the whole path, which begins with `/`: write .*{literal} or /{literal}");
        return Err(PatternError::new(format!("`{written}` can match no path"), hint));
    }
    Ok(())
}

fn compile(pattern: &str) -> Result<Regex, PatternError> {
    // Without Unicode: paths are ASCII, and `\w` and `(?i)` of Unicode are a hundred times the size.
    let built = RegexBuilder::new(pattern).unicode(false).size_limit(REGEX_SIZE).dfa_size_limit(REGEX_SIZE).build();
    built.map_err(|error| {
        if let regex::Error::CompiledTooBig(_) = error {
            let hint = "write fewer or smaller counted repetitions, such as + for {1,1000}";
            return PatternError::new(format!("the regex needs more than {} KiB", REGEX_SIZE / 1024), hint);
        }
        // The message draws the pattern and an arrow under it, then says in its last line what is wrong.
        let text = error.to_string();
        let reason = text.rsplit("error: ").next().unwrap_or(&text);
        PatternError::new(format!("not a regex: {reason}"), "the syntax: https://docs.rs/regex/latest/regex/#syntax")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(written: &str) -> PatternError {
        HostPattern::parse(written).unwrap_err()
    }

    #[test]
    fn a_pattern_is_a_host_or_a_wildcard_for_its_first_labels() {
        assert_eq!(HostPattern::parse("Shop.example.com."), Ok(HostPattern::Exact("shop.example.com".into())));
        assert_eq!(HostPattern::parse("*.Example.com"), Ok(HostPattern::Wildcard("example.com".into())));
        assert_eq!(HostPattern::parse("[::1]"), Ok(HostPattern::Exact("[::1]".into())));
    }

    #[test]
    fn a_refused_pattern_says_what_to_write_instead() {
        for (written, hint) in [
            ("*", "leave `host` out"),
            ("https://shop.example.com", "write the name alone"),
            ("shop.example.com/api", "`path_prefix`"),
            ("shop.example.com:8080", "write shop.example.com; the port is the listener's"),
            ("[::1]:80", "write [::1];"),
            ("::1", "write \"[::1]\""),
            ("shop.*.com", "\"*.example.com\""),
            ("*shop.com", "\"*.example.com\""),
            ("*.*.com", "\"*.example.com\""),
            ("*.", "\"*.example.com\""),
            ("münchen.de", "Punycode"),
            ("", "write shop.example.com"),
            ("a..b", "write shop.example.com"),
        ] {
            let error = refused(written);
            assert!(error.hint.contains(hint), "{written}: {error}");
        }
    }

    #[test]
    fn a_prefix_is_the_same_with_and_without_its_last_slash() {
        assert_eq!(PathPattern::prefix("/api/"), PathPattern::prefix("/api"));
        assert_eq!(PathPattern::prefix("/"), Ok(PathPattern::Prefix("".into())));
        assert_ne!(PathPattern::exact("/api/"), PathPattern::exact("/api"));
    }

    #[test]
    fn a_refused_path_says_what_to_write_instead() {
        for (written, hint) in [
            ("api", "write /api"),
            ("", "write /"),
            ("/a//b/./c", "write /a/b/c"),
            ("/%7euser", "write /~user"),
            ("/a%2fb", "write /a%2Fb"),
            ("/users/{id}", "`path_regex: /users/[^/]+`"),
            ("/users/:id/cart/{item}", "`path_regex: /users/[^/]+/cart/[^/]+`"),
            ("/static/*", "`path_regex: /static/.*`, or `path_prefix`"),
            ("/café au lait", "/caf%C3%A9%20au%20lait"),
            ("/search?q=1", "write /search here and the parameters into `query`"),
            ("/a/../..", "are refused"),
            ("/100%", "are refused"),
        ] {
            let error = PathPattern::exact(written).unwrap_err();
            assert!(error.hint.contains(hint), "{written}: {error}");
        }
        assert!(PathPattern::prefix("/api/*").unwrap_err().hint.contains("write /api/;"));
        assert!(PathPattern::prefix("/*").unwrap_err().hint.contains("write /;"));
    }

    #[test]
    fn a_refused_regex_says_what_is_wrong_with_it() {
        for (written, reason) in [
            ("/a(", "unclosed group"),
            ("/a)|(b", "unopened group"),
            ("/(?x)a # b", "unclosed group"),
            ("/(?=a)", "look-around"),
            (r"/(a)\1", "backreferences"),
            ("/(?:a{999}){999}", "more than 1024 KiB"),
            ("/é", "outside ASCII"),
            (r"\.php$", "can match no path"),
            ("^api/.*", "can match no path"),
        ] {
            let error = PathPattern::regex(written).unwrap_err();
            assert!(error.message.contains(reason) && !error.message.contains('\n'), "{written}: {error}");
        }
    }

    #[test]
    fn the_literal_start_of_a_regex_is_never_longer_than_what_all_its_matches_share() {
        for (written, literal) in [
            ("/ping", "/ping"),
            ("^/ping$", "/ping"),
            ("/api/.*", "/api"),
            ("/api/v[12]/x", "/api"),
            ("/api/?x", ""),
            ("/api/*", ""),
            ("/a/api?", "/a"),
            ("/api.*", ""),
            ("/a/x|/b/x", ""),
            ("(?i)/api/.*", ""),
            (".*", ""),
            ("", ""),
        ] {
            let Ok(PathPattern::Regex(regex)) = PathPattern::regex(written) else { panic!("{written} is a regex") };
            assert_eq!(regex.literal_prefix(), literal, "{written}");
        }
    }
}
