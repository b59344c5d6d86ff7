//! The texts that were read, and places in them.

use std::fmt;

use super::problem::Severity;

/// The texts that were read, in the order in which they were.
#[derive(Default)]
pub(super) struct Sources(Vec<Source>);

struct Source {
    /// As it is shown: the path as given, or relative to the first file.
    name: String,
    lines: Vec<String>,
}

/// One of the texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(usize);

/// A piece of one line of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) file: FileId,
    /// From 1.
    pub(super) line: usize,
    /// Characters before it on its line.
    pub(super) col: usize,
    /// Characters of it on its line.
    pub(super) len: usize,
}

/// A fault at a place, before it is rendered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) span: Span,
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// The other place that it is about: the first of two equal keys.
    pub(super) also: Option<(String, Span)>,
}

/// A problem with its place in the text; `Display` shows the line itself with a mark under the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedProblem {
    /// The file, as it was named.
    pub file: String,
    /// From 1; 0 where the problem has no place in the text.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Whether it stops the file.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    excerpts: Vec<Excerpt>,
}

/// A line of the text with a mark under a place, and what it shows where it is not the problem's own place.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    title: Option<String>,
    line: usize,
    text: String,
    before: usize,
    len: usize,
}

// === impl Sources ===

impl Sources {
    pub(super) fn add(&mut self, name: String, text: &str) -> FileId {
        let lines = text.lines().map(str::to_owned).collect();
        self.0.push(Source { name, lines });
        FileId(self.0.len() - 1)
    }

    fn name(&self, file: FileId) -> &str {
        self.0.get(file.0).map_or("", |source| &source.name)
    }

    /// A line's text, from 1.
    pub(super) fn line(&self, file: FileId, line: usize) -> Option<&str> {
        let lines = &self.0.get(file.0)?.lines;
        lines.get(line.checked_sub(1)?).map(String::as_str)
    }

    /// The line as it may be shown: without secrets, those of a list that begins on a line above included.
    fn masked(&self, file: FileId, line: usize) -> Option<String> {
        let text = self.line(file, line)?;
        match self.continues_a_secret(file, line, text) {
            true => Some(text.chars().map(|c| if " -\"'[]{},".contains(c) { c } else { '*' }).collect()),
            false => Some(mask(text)),
        }
    }

    /// Whether it is no key itself, and goes on with the value of a secret's key on a line above.
    fn continues_a_secret(&self, file: FileId, line: usize, text: &str) -> bool {
        let indent = |text: &str| text.chars().take_while(|c| c.is_whitespace()).count();
        // The items of a list may stand as deep as its key.
        let listed = |text: &str| text.trim_start().starts_with('-');
        if begins_with_key(text.trim_start()) {
            return false;
        }
        let (mut depth, mut item) = (indent(text), listed(text));
        for above in (1..line).rev() {
            let Some(text) = self.line(file, above).filter(|text| !text.trim().is_empty()) else { continue };
            let holds = indent(text) < depth || (item && indent(text) == depth && !listed(text));
            // What stands below a key without a value is meant for it, however deep.
            let open = above + 1 == line && text.trim_end().ends_with([':', '[', ',', '|', '>']);
            if (holds || open) && secret_value(text).is_some() {
                return true;
            }
            if holds && begins_with_key(text.trim_start().trim_start_matches("- ")) {
                return false;
            }
            if holds {
                (depth, item) = (indent(text), listed(text));
            }
        }
        false
    }

    pub(super) fn render(&self, fault: Fault) -> LocatedProblem {
        let Fault { span, severity, message, hint, also } = fault;
        let line = self.line(span.file, span.line).unwrap_or_default();
        let masked = self.masked(span.file, span.line).unwrap_or_default();
        let message = censor(&message, line, &masked);
        let hint = hint.map(|hint| censor(&hint, line, &masked));
        let mut excerpts: Vec<_> = self.excerpt(span, None).into_iter().collect();
        if let Some((words, span)) = also {
            let title = format!("{words} {}:{}:{}", self.name(span.file), span.line, span.col + 1);
            excerpts.extend(self.excerpt(span, Some(title)));
        }
        let column = if span.line == 0 { 0 } else { span.col + 1 };
        LocatedProblem {
            file: self.name(span.file).to_owned(),
            line: span.line,
            column,
            severity,
            message,
            hint,
            excerpts,
        }
    }

    fn excerpt(&self, span: Span, title: Option<String>) -> Option<Excerpt> {
        let line = self.masked(span.file, span.line)?;
        // A window around the place, so that a line of any length fits a terminal.
        const WIDTH: usize = 120;
        let from = if span.col > WIDTH - 20 { span.col - 40 } else { 0 };
        let text: String = line.chars().skip(from).take(WIDTH).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let text = text.trim_end().to_owned();
        let before = span.col - from;
        let len = span.len.clamp(1, text.chars().count().saturating_sub(before).max(1));
        Some(Excerpt { title, line: span.line, text, before, len })
    }
}

/// `key: ..`, as every line of a map does.
fn begins_with_key(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"_-.".contains(c)).unwrap_or(text.len());
    let rest = text.get(end..).unwrap_or_default();
    end > 0 && !text.starts_with('-') && (rest.trim_end() == ":" || rest.starts_with(": "))
}

/// Words in the keys of secrets, and whole keys that others have for them.
const SECRET: [&str; 6] = ["token", "secret", "password", "passwd", "requirepass", "credential"];
const KEYS: [&str; 4] = ["token", "secret", "secrets", "password"];
const FOREIGN: [&str; 5] = ["auth", "pass", "keys", "signing_key", "hmac_key"];

/// The line with the values of keys that hold secrets starred out, and so what stands before the `@` of a URL, character
/// for character. `${NAME}` is no secret, and a default is one.
fn mask(line: &str) -> String {
    let mut hidden = vec![false; line.len()];
    let mut hide = |from: usize, to: usize| {
        let mut at = from;
        while at < to {
            let rest = line.get(at..to).unwrap_or_default();
            let shown = rest.strip_prefix("${").and_then(|inner| inner.split_once('}')).map(|(name, _)| name);
            match shown {
                // The braces, too.
                Some(name) => at += 2 + name.find(":-").map_or(name.len() + 1, |default| default + 2),
                None => {
                    let len = rest.chars().next().map_or(1, char::len_utf8);
                    hidden.iter_mut().skip(at).take(len).for_each(|hidden| *hidden = true);
                    at += len;
                }
            }
        }
    };
    if let Some(start) = secret_value(line) {
        hide(start, line.len());
    }
    for (at, scheme) in ["://", "redis:", "rediss:", "store:", "url:"].iter().flat_map(|word| line.match_indices(word))
    {
        let rest = line.get(at + scheme.len()..).unwrap_or_default();
        let credentials = rest.trim_start_matches([':', '/', ' ', '"', '\'']);
        if credentials.starts_with("redis") {
            continue;
        }
        let start = line.len() - credentials.len();
        hide(start, start + credentials_end(rest, credentials));
    }
    let star = |(at, c): (usize, char)| match hidden.get(at) {
        Some(true) if !" \"'[]{},".contains(c) => '*',
        _ => c,
    };
    line.char_indices().map(star).collect()
}

/// How much of what follows a URL's scheme is user and password. A password may hold anything, an `@` too: the last one
/// of the line ends the last of them.
fn credentials_end(rest: &str, credentials: &str) -> usize {
    if let Some(end) = credentials.rfind('@') {
        return end;
    }
    // The `@` was forgotten: `redis://:PASSWORD`, `redis://USER:PASSWORD:6379`.
    let end = credentials.find([' ', ',', '"', '\'', '}', ']', '/', '#']).unwrap_or(credentials.len());
    let word = credentials.get(..end).unwrap_or_default();
    let has_password = rest.starts_with("//:") || rest.starts_with(':') || word.matches(':').count() > 1;
    if has_password && !word.starts_with('[') { end } else { 0 }
}

/// Where on a line the value of a secret's key begins.
fn secret_value(line: &str) -> Option<usize> {
    let lower = line.to_ascii_lowercase();
    let mut found: Option<usize> = None;
    // Whole keys, each before its colon; a slip of the pen is still a secret's.
    for (colon, _) in lower.match_indices(':') {
        let before = lower.get(..colon).unwrap_or_default().trim_end_matches(['"', '\'']);
        let key = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default();
        // `secure` is two slips away from `secret`.
        let near = |word: &str| key.len() > 4 && strsim::damerau_levenshtein(key, word) <= 1;
        if FOREIGN.contains(&key) || KEYS.iter().any(|word| near(word)) {
            found = found.or(Some(colon + 1));
        }
    }
    for (at, word) in SECRET.iter().flat_map(|word| lower.match_indices(word)) {
        let after = lower.get(at..).unwrap_or_default();
        // Where the colon was forgotten, the first word of a line is still its key.
        let begins = lower.get(..at).is_some_and(|before| before.trim_start().trim_start_matches("- ").is_empty());
        let blank = after.find(' ').filter(|_| begins);
        let Some(end) = after.find(':').or(blank).map(|end| at + end) else { continue };
        let key = lower.get(at + word.len()..end).unwrap_or_default();
        if !key.chars().all(|c| c.is_ascii_alphanumeric() || "_-'\" ".contains(c)) {
            continue;
        }
        let value = line.get(end + 1..).unwrap_or_default();
        if is_reference(value) {
            continue;
        }
        found = Some(found.map_or(end + 1, |first: usize| first.min(end + 1)));
    }
    found
}

/// Whether a value is `${NAME}` and nothing else: what follows on its line is another key's.
fn is_reference(value: &str) -> bool {
    let reference =
        value.trim_start_matches([' ', '"', '\'']).strip_prefix("${").and_then(|value| value.split_once('}'));
    let ends = |rest: &str| rest.is_empty() || rest.starts_with([' ', ',', '}', '"', '\'']);
    reference.is_some_and(|(name, rest)| !name.contains(":-") && ends(rest))
}

/// `text` without what is starred out of `line` in `masked`: the secret itself, and other words as far as they are no keys
/// that follow it on its line.
fn censor(text: &str, line: &str, masked: &str) -> String {
    let hidden: String = line.chars().zip(masked.chars()).map(|(c, m)| if c == m { '\0' } else { c }).collect();
    // Shorter pieces would star out parts of ordinary words, and tell nothing.
    let pieces = hidden.split('\0').filter(|piece| piece.chars().count() > 2 && !["true", "false"].contains(piece));
    let words = pieces.enumerate().filter(|(number, piece)| *number == 0 || !piece.ends_with(':'));
    words.fold(text.to_owned(), |text, (_, piece)| star_word(&text, piece.trim_end_matches(':')))
}

/// `text` with `word` starred out, where it is quoted and no part of a longer one: sentences of ours may have the same words,
/// and what comes from the file stands in quotes.
fn star_word(text: &str, word: &str) -> String {
    let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let quoted = |before: &str| {
        // An apostrophe is no quote: that one has a space before it.
        let single = before.rsplit_once(" '").is_some_and(|(_, after)| !after.contains('\''));
        single || ['`', '"'].iter().any(|quote| before.matches(*quote).count() % 2 == 1)
    };
    let (first, last) = (word.chars().next(), word.chars().next_back());
    let mut starred = String::with_capacity(text.len());
    let mut from = 0;
    for (at, _) in text.match_indices(word).filter(|_| !word.is_empty()) {
        let (before, after) = (text.get(..at).unwrap_or_default(), text.get(at + word.len()..).unwrap_or_default());
        let part =
            (letter(before.chars().next_back()) && letter(first)) || (letter(after.chars().next()) && letter(last));
        if !part && (quoted(before) || word.contains('`')) {
            starred.push_str(text.get(from..at).unwrap_or_default());
            starred.extend(std::iter::repeat_n('*', word.chars().count()));
            from = at + word.len();
        }
    }
    starred + text.get(from..).unwrap_or_default()
}

// === impl FileId ===

impl FileId {
    /// Its number in the order of reading.
    pub(super) fn index(self) -> usize {
        self.0
    }
}

// === impl Span ===

impl Span {
    /// The place of a whole file that has no text to show.
    pub(super) fn file(file: FileId) -> Self {
        Self { file, line: 0, col: 0, len: 0 }
    }
}

// === impl Fault ===

impl Fault {
    pub(super) fn error(span: Span, message: impl Into<String>) -> Self {
        Self { span, severity: Severity::Error, message: message.into(), hint: None, also: None }
    }

    pub(super) fn warning(span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message) }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn also(mut self, words: &str, span: Span) -> Self {
        self.also = Some((words.to_owned(), span));
        self
    }
}

// === impl LocatedProblem ===

impl fmt::Display for LocatedProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        let severity = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        write!(f, ": {severity}{}", self.message)?;
        for Excerpt { title, line, text, before, len } in &self.excerpts {
            if let Some(title) = title {
                write!(f, "\n     {title}")?;
            }
            write!(f, "\n{line:>7} | {text}\n{:>7} | {:before$}{:^<len$}", "", "", "")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n     {hint}")?;
        }
        Ok(())
    }
}
