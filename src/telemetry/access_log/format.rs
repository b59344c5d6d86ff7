//! How a line of the access log is written: JSON, the combined format, or a template.
//!
//! Whatever a client chose is escaped in each of them: a line break in a header would forge a line, an escape sequence
//! would run in the terminal of whoever reads the log.

use std::{fmt, io::Write as _, time::SystemTime};

use jiff::Timestamp;

use super::summary::{Field, Summary, Value};

/// The shape of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line; a field without a value is left out.
    Json,
    /// What Apache and nginx call combined; times in UTC.
    Combined,
    /// Text with fields in braces.
    Template(Template),
}

/// A line with fields in it: `{client_ip} {status} {duration_ms}`. `{{` and `}}` are braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field(Field),
}

/// Why a template can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateProblem {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

// === impl Format ===

impl Format {
    /// Appends the line of a request, its line break included.
    pub(super) fn write(&self, summary: &Summary, line: &mut Vec<u8>) {
        match self {
            Self::Json => write_json(summary, line),
            Self::Combined => write_combined(summary, line),
            Self::Template(template) => template.write(summary, line),
        }
        line.push(b'\n');
    }
}

// === impl Template ===

impl Template {
    /// Reads a template; an unknown field, a brace left open and a line break are problems.
    pub fn parse(text: &str) -> Result<Self, TemplateProblem> {
        if text.chars().any(char::is_control) {
            return Err(TemplateProblem::new("a template has no line breaks or other control characters", "one line"));
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            let after = &rest[at + 1..];
            if after.starts_with(brace) {
                literal.push_str(brace);
                rest = &after[1..];
                continue;
            }
            let name = if brace == "{" { after.split_once('}') } else { None };
            let Some((name, after)) = name else {
                let message = format!("a `{brace}` without its other half");
                return Err(TemplateProblem::new(message, "write a brace itself as `{{` or `}}`"));
            };
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
            pieces.push(Piece::Field(named(name)?));
            rest = after;
        }
        literal.push_str(rest);
        pieces.push(Piece::Text(literal));
        pieces.retain(|piece| *piece != Piece::Text(String::new()));
        if pieces.iter().all(|piece| matches!(piece, Piece::Text(_))) {
            let hint = format!("`json`, `combined`, or a template such as `{{client_ip}} {{status}}`; {}", known());
            return Err(TemplateProblem::new("a template names at least one field in braces", hint));
        }
        Ok(Self(pieces))
    }

    fn write(&self, summary: &Summary, line: &mut Vec<u8>) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => line.extend_from_slice(text.as_bytes()),
                Piece::Field(field) => write_plain(field.of(summary), line),
            }
        }
    }
}

// === impl TemplateProblem ===

impl TemplateProblem {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

impl fmt::Display for TemplateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.message, self.hint)
    }
}

impl std::error::Error for TemplateProblem {}

fn named(name: &str) -> Result<Field, TemplateProblem> {
    if let Some(field) = Field::ALL.iter().find(|field| field.name() == name) {
        return Ok(*field);
    }
    /// As far apart as a typing mistake or two in a short word.
    const NEAR: f64 = 0.75;
    let similar = Field::ALL.iter().map(|field| (strsim::jaro_winkler(name, field.name()), field.name()));
    let nearest = similar.max_by(|one, other| one.0.total_cmp(&other.0)).filter(|(likeness, _)| *likeness >= NEAR);
    let hint = nearest.map_or_else(known, |(_, nearest)| format!("did you mean `{{{nearest}}}`? {}", known()));
    Err(TemplateProblem::new(format!("unknown field `{{{name}}}` in an access log template"), hint))
}

fn known() -> String {
    let names: Vec<_> = Field::ALL.iter().map(|field| field.name()).collect();
    format!("fields are {}", names.join(", "))
}

// --- the formats ---

fn write_json(summary: &Summary, line: &mut Vec<u8>) {
    line.push(b'{');
    for field in Field::ALL {
        let Some(value) = field.of(summary) else { continue };
        if line.last() != Some(&b'{') {
            line.push(b',');
        }
        print(line, format_args!("\"{}\":", field.name()));
        match value {
            Value::Bytes(bytes) => write_json_text(&String::from_utf8_lossy(bytes), line),
            Value::Text(text) => write_json_text(text, line),
            Value::Number(number) => print(line, format_args!("{number}")),
            Value::Milliseconds(time) => print(line, format_args!("{:.3}", time.as_secs_f64() * 1e3)),
            Value::Hash(hash) => print(line, format_args!("\"{hash:08x}\"")),
            Value::Time(time) => print(line, format_args!("\"{}\"", rfc3339(time))),
            Value::Address(address) => print(line, format_args!("\"{address}\"")),
        }
    }
    line.push(b'}');
}

fn write_combined(summary: &Summary, line: &mut Vec<u8>) {
    write_plain(Field::ClientIp.of(summary), line);
    print(line, format_args!(" - - [{}] \"", timestamp(summary.time).strftime("%d/%b/%Y:%H:%M:%S +0000")));
    for (field, after) in [(Field::Method, " "), (Field::Target, " "), (Field::Protocol, "\" ")] {
        write_plain(field.of(summary), line);
        line.extend_from_slice(after.as_bytes());
    }
    print(line, format_args!("{} {} \"", summary.status, summary.response_bytes));
    write_plain(Field::Referer.of(summary), line);
    line.extend_from_slice(b"\" \"");
    write_plain(Field::UserAgent.of(summary), line);
    line.push(b'"');
}

/// A value in plain text: `-` for none; what could end a quoted word or act on a terminal as `\xHH`.
fn write_plain(value: Option<Value<'_>>, line: &mut Vec<u8>) {
    match value {
        None => line.push(b'-'),
        Some(Value::Bytes(bytes)) => write_escaped(bytes, line),
        Some(Value::Text(text)) => write_escaped(text.as_bytes(), line),
        Some(Value::Number(number)) => print(line, format_args!("{number}")),
        Some(Value::Milliseconds(time)) => print(line, format_args!("{:.3}", time.as_secs_f64() * 1e3)),
        Some(Value::Hash(hash)) => print(line, format_args!("{hash:08x}")),
        Some(Value::Time(time)) => print(line, format_args!("{}", rfc3339(time))),
        Some(Value::Address(address)) => print(line, format_args!("{address}")),
    }
}

fn write_escaped(bytes: &[u8], line: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => print(line, format_args!("\\x{byte:02X}")),
            plain => line.push(*plain),
        }
    }
}

/// A JSON string. Beyond what JSON demands, the C1 controls, DEL and the two line separators of Unicode are escaped.
pub(in crate::telemetry) fn write_json_text(text: &str, line: &mut Vec<u8>) {
    line.push(b'"');
    for character in text.chars() {
        match character {
            '"' => line.extend_from_slice(b"\\\""),
            '\\' => line.extend_from_slice(b"\\\\"),
            '\n' => line.extend_from_slice(b"\\n"),
            '\0'..'\u{20}' | '\u{7f}'..'\u{a0}' | '\u{2028}' | '\u{2029}' => {
                print(line, format_args!("\\u{:04x}", u32::from(character)));
            }
            plain => line.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    line.push(b'"');
}

/// A moment in UTC with milliseconds.
pub fn rfc3339(time: SystemTime) -> impl fmt::Display {
    timestamp(time).strftime("%Y-%m-%dT%H:%M:%S.%3fZ")
}

fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn print(line: &mut Vec<u8>, arguments: fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = line.write_fmt(arguments);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderValue, Method, Version};

    use super::*;
    use crate::telemetry::metrics::{CheckResult, RetryReason, SkipReason, StickyResult};

    fn summary() -> Summary {
        Summary {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_000_000_042),
            client: "192.0.2.7".parse().ok(),
            listener: "http".into(),
            method: Method::GET,
            host: Some(HeaderValue::from_static("shop.example.com")),
            target: Bytes::from_static(b"/cart?id=1"),
            protocol: Version::HTTP_11,
            status: 200,
            request_bytes: 0,
            response_bytes: 512,
            duration: Duration::from_micros(12_345),
            route: Some("shop".into()),
            upstream: Some("node".into()),
            endpoint: Some("127.0.0.1:3001".into()),
            attempts: 2,
            retry: Some(RetryReason::ConnectError),
            retry_skipped: None,
            failure: None,
            upstream_connect: None,
            upstream_first_byte: Some(Duration::from_millis(11)),
            upstream_duration: Some(Duration::from_millis(12)),
            session: Some(CheckResult::Cached),
            session_hash: Some(0x2a),
            sticky: Some(StickyResult::Kept),
            user_agent: Some(HeaderValue::from_static("curl/8")),
            referer: None,
            request_id: Some("r-1".to_owned()),
        }
    }

    fn line(format: &Format, summary: &Summary) -> String {
        let mut line = Vec::new();
        format.write(summary, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn the_three_formats_read_as_documented() {
        let json = r#"{"time":"2026-09-21T14:13:20.042Z","client_ip":"192.0.2.7","listener":"http","method":"GET","host":"shop.example.com","target":"/cart?id=1","path":"/cart","protocol":"HTTP/1.1","status":200,"request_bytes":0,"response_bytes":512,"duration_ms":12.345,"route":"shop","upstream":"node","endpoint":"127.0.0.1:3001","attempts":2,"retry":"connect_error","upstream_first_byte_ms":11.000,"upstream_duration_ms":12.000,"session":"cached","session_hash":"0000002a","sticky":"kept","user_agent":"curl/8","request_id":"r-1"}"#;
        assert_eq!(line(&Format::Json, &summary()), format!("{json}\n"));
        let combined =
            "192.0.2.7 - - [21/Sep/2026:14:13:20 +0000] \"GET /cart?id=1 HTTP/1.1\" 200 512 \"-\" \"curl/8\"\n";
        assert_eq!(line(&Format::Combined, &summary()), combined);
        let template = Template::parse("{{{time}}} {client_ip} {referer} {status} in {duration_ms} ms").unwrap();
        let expected = "{2026-09-21T14:13:20.042Z} 192.0.2.7 - 200 in 12.345 ms\n";
        assert_eq!(line(&Format::Template(template), &summary()), expected);
    }

    #[test]
    fn no_client_can_forge_a_line_or_a_field() {
        let hostile = b"/\r\nforged \"quoted\" \\ \x1b[31m \x7f \xc2\x9b \xff \xe2\x80\xa8".as_slice();
        let mut summary = summary();
        summary.target = Bytes::from_static(hostile);
        summary.user_agent = HeaderValue::from_bytes(b"\" 200 \x80 \\").ok();
        summary.host = HeaderValue::from_bytes(b"\xfe\"\\").ok();
        summary.request_id = Some("a\nb\u{1b}c".to_owned());
        let names: String = Field::ALL.iter().map(|field| format!("{{{}}} ", field.name())).collect();
        for format in [Format::Json, Format::Combined, Format::Template(Template::parse(&names).unwrap())] {
            let line = line(&format, &summary);
            let body = line.strip_suffix('\n').unwrap();
            assert!(!body.chars().any(char::is_control), "{line:?}");
            assert!(!body.contains('\u{2028}'), "{line:?}");
        }
        let parsed: serde_json::Value = serde_json::from_str(&line(&Format::Json, &summary)).unwrap();
        assert_eq!(parsed["target"], String::from_utf8_lossy(hostile).as_ref());
        assert_eq!(parsed["user_agent"], "\" 200 \u{fffd} \\");
        // Six quotes are the format's own.
        assert_eq!(line(&Format::Combined, &summary).matches('"').count(), 6);
    }

    #[test]
    fn every_field_can_be_named_in_a_template() {
        let mut summary = summary();
        summary.failure = Some("upstream_timeout");
        summary.retry_skipped = Some(SkipReason::Method);
        for field in Field::ALL {
            let template = Template::parse(&format!("{{{}}}", field.name())).unwrap();
            assert!(line(&Format::Template(template), &summary).len() > 1, "{}", field.name());
        }
    }

    #[test]
    fn every_field_is_documented() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
        let page = std::fs::read_to_string(page).unwrap();
        for field in Field::ALL {
            assert!(
                page.contains(&format!("`{}`", field.name())),
                "docs/operations.md says nothing of {}",
                field.name()
            );
        }
    }

    #[test]
    fn a_wrong_template_is_answered_with_what_was_meant() {
        let problem = |text| Template::parse(text).unwrap_err().to_string();
        assert!(
            problem("{client} {status}")
                .starts_with("unknown field `{client}` in an access log template: did you mean `{client_ip}`?")
        );
        assert!(problem("{zzz}").contains("`{zzz}` in an access log template: fields are time, client_ip,"));
        assert!(problem("{status").starts_with("a `{` without its other half"));
        assert!(problem("status}").starts_with("a `}` without its other half"));
        assert!(problem("cobined").starts_with("a template names at least one field"));
        assert!(problem("{status}\n{time}").starts_with("a template has no line breaks"));
    }
}
