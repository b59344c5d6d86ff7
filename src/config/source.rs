//! The texts that were read, and places in them.

use std::fmt;
use std::sync::OnceLock;

use super::mask::Masked;
use super::problem::Severity;

/// The texts that were read, in the order in which they were.
#[derive(Default)]
pub(super) struct Sources(Vec<Source>);

struct Source {
    /// As it is shown: the path as given, or relative to the first file.
    name: String,
    lines: Vec<String>,
    /// Made only where there is something to say.
    masked: OnceLock<Masked>,
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
        self.0.push(Source { name, lines, masked: OnceLock::new() });
        FileId(self.0.len() - 1)
    }

    fn name(&self, file: FileId) -> &str {
        self.0.get(file.0).map_or("", |source| &source.name)
    }

    /// The text as it may be shown.
    fn masked(&self, file: FileId) -> Option<&Masked> {
        self.0.get(file.0).map(|source| source.masked.get_or_init(|| Masked::of(&source.lines)))
    }

    pub(super) fn render(&self, fault: Fault) -> LocatedProblem {
        let Fault { span, severity, message, hint, also } = fault;
        let censor = |text: String| match self.masked(span.file) {
            Some(masked) => masked.censor(&text, span.line),
            None => text,
        };
        let (message, hint) = (censor(message), hint.map(censor));
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
        let line = self.masked(span.file)?.line(span.line)?;
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
