//! The file as a tree whose every node knows its place: from the YAML parser's events, before any meaning.
//!
//! What makes YAML surprising is refused here with its place: equal keys, several documents, anchors, aliases and
//! tags. Where the text is not YAML because of a known trap, the trap is named, mended in memory, and reading goes on,
//! so that one run shows all problems.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span as EventSpan};

use super::source::{Fault, FileId, Span};
use super::traps::{self, Edit};

/// A value and its place.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) data: Data,
}

/// What a node holds.
#[derive(Clone)]
pub(super) enum Data {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Something that was already complained about: nothing more is said of it.
    Broken,
}

/// A scalar as written, not yet a number or a word.
#[derive(Clone)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Written without quotes and not as a block.
    pub(super) plain: bool,
    /// What was written, where `text` came from outside the file (`${NAME}`): shown in its place.
    pub(super) written: Option<String>,
}

/// A key and its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) value: Node,
}

/// What a plain scalar is by YAML 1.2's core schema.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text,
}

/// Deeper than any file needs, shallow enough for recursion.
const DEPTH: usize = 32;
/// A file beyond it is not a configuration.
const BYTES: usize = 8 << 20;
/// How many traps are mended in one file before it is given up.
const MENDS: usize = 50;

/// Reads one text. `None` where it is empty, or where it is not YAML (then there are faults).
pub(super) fn parse(file: FileId, text: &str, faults: &mut Vec<Fault>) -> Option<Node> {
    if text.len() > BYTES {
        let message = format!("the file has {} bytes; a configuration has at most {BYTES}", text.len());
        faults.push(Fault::error(Span::file(file), message));
        return None;
    }
    let mut lines: Vec<String> = text.trim_start_matches('\u{feff}').lines().map(str::to_owned).collect();
    let mut edits: Vec<Edit> = Vec::new();
    loop {
        let mended = lines.join("\n") + "\n";
        let mut builder =
            Builder { file, edits: &edits, lines: &lines, faults: Vec::new(), open: Vec::new(), root: None };
        let error = builder.read(&mended);
        let Builder { faults: found, root, .. } = builder;
        let Some(error) = error else {
            faults.extend(found);
            return root;
        };
        let trap = traps::explain(&lines, error.marker().line(), error.marker().col(), error.info());
        // A fault of what was mended is ours, not the operator's; and mending it again might never end.
        if edits.iter().any(|edit| edit.covers(trap.line, trap.col)) {
            faults.extend(found);
            return None;
        }
        let span = place(file, &edits, trap.line, trap.col, trap.len);
        let mut fault = Fault::error(span, trap.message);
        fault.hint = trap.hint;
        faults.push(fault);
        let new = |edit: &Edit| edits.len() < MENDS && !edits.iter().any(|done| done.meets(edit));
        let Some(edit) = trap.mend.filter(new).filter(|edit| edit.apply(&mut lines)) else {
            faults.extend(found);
            return None;
        };
        edits.push(edit);
    }
}

/// A place in the mended text, as a place in the text as written.
fn place(file: FileId, edits: &[Edit], line: usize, col: usize, len: usize) -> Span {
    let (mut start, mut end) = (col, col + len);
    for edit in edits.iter().rev().filter(|edit| edit.line == line) {
        start = edit.before(start);
        end = edit.before(end);
    }
    Span { file, line, col: start, len: end.saturating_sub(start) }
}

struct Builder<'a> {
    file: FileId,
    edits: &'a [Edit],
    lines: &'a [String],
    faults: Vec<Fault>,
    open: Vec<Open>,
    root: Option<Node>,
}

/// A list or map that is being read.
struct Open {
    span: Span,
    kind: OpenKind,
    /// Something in it can't be read, so that nothing more is to be said of it.
    broken: bool,
}

enum OpenKind {
    List(Vec<Node>),
    Map(Vec<Entry>, Option<Key>),
}

struct Key {
    /// `None` where it is no word: its entry is left out.
    text: Option<String>,
    span: Span,
}

impl Builder<'_> {
    /// Reads all events; a scan error ends it.
    fn read(&mut self, text: &str) -> Option<ScanError> {
        let mut documents = 0;
        for event in Parser::new_from_str(text) {
            let (event, span) = match event {
                Ok(event) => event,
                Err(error) => return Some(error),
            };
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        let fault = Fault::error(self.span(&span), "a second document begins here; a file has one");
                        self.faults
                            .push(fault.hint("remove the line `---`, or move what follows into an included file"));
                        return None;
                    }
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let node = self.scalar(text.into_owned(), style, &span);
                    self.refuse(anchor, tag.as_deref(), &span);
                    self.put(node);
                }
                Event::SequenceStart(anchor, tag) => {
                    self.refuse(anchor, tag.as_deref(), &span);
                    self.open.push(Open { span: self.span(&span), kind: OpenKind::List(Vec::new()), broken: false });
                }
                Event::MappingStart(anchor, tag) => {
                    self.refuse(anchor, tag.as_deref(), &span);
                    self.open.push(Open {
                        span: self.span(&span),
                        kind: OpenKind::Map(Vec::new(), None),
                        broken: false,
                    });
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(node) = self.open.pop().map(Open::close) {
                        self.put(node);
                    }
                }
                Event::Alias(_) => {
                    let span = self.span(&span);
                    // The validator says of a merge key what it is.
                    if !self.open.last().is_some_and(Open::merges) {
                        let fault = Fault::error(span, "an alias (`*name`) has no meaning here");
                        self.faults
                            .push(fault.hint("write the value out; a text that begins with `*` has to be quoted"));
                    }
                    self.put(Node { span, data: Data::Broken });
                }
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
            if self.open.len() > DEPTH {
                let message = format!("this is nested more than {DEPTH} levels deep");
                self.faults.push(Fault::error(self.span(&span), message));
                self.root = None;
                return None;
            }
        }
        None
    }

    fn refuse(&mut self, anchor: usize, tag: Option<&saphyr_parser::Tag>, span: &EventSpan) {
        let mut span = self.span(span);
        span.len = span.len.max(1);
        if anchor > 0 {
            let fault = Fault::error(span, "an anchor (`&name`) has no meaning here");
            self.faults
                .push(fault.hint("write the value out where it is used; a text that begins with `&` has to be quoted"));
        }
        if let Some(tag) = tag {
            let name = if tag.is_yaml_core_schema() { format!("!!{}", tag.suffix) } else { tag.to_string() };
            let fault = Fault::error(span, format!("a tag (`{name}`) has no meaning here"));
            self.faults.push(fault.hint("remove it; a text that begins with `!` has to be quoted"));
        }
    }

    fn scalar(&self, text: String, style: ScalarStyle, span: &EventSpan) -> Node {
        let mut place = self.span(span);
        if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            place.len = 1;
        } else if text.is_empty() && style == ScalarStyle::Plain {
            place.len = 0;
        }
        let plain = style == ScalarStyle::Plain;
        Node { span: place, data: Data::Scalar(Scalar { text, plain, written: None }) }
    }

    /// Puts a finished node where it belongs.
    fn put(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut open.kind {
            OpenKind::List(nodes) => nodes.push(node),
            OpenKind::Map(entries, key @ None) => {
                let (span, text) = (node.span, node.data);
                let text = match text {
                    Data::Scalar(scalar) => Some(scalar.text),
                    data @ (Data::List(_) | Data::Map(_) | Data::Broken) => {
                        let fault = match data {
                            Data::Broken => None,
                            Data::Map(_) if open.span.col + 1 == span.col => Some(
                                Fault::error(
                                    open.span,
                                    "`{{` begins a template, and this file is not filled in by one",
                                )
                                .hint(
                                    "a value from outside is `${NAME}`; a text that begins with `{` has to be quoted",
                                ),
                            ),
                            Data::Scalar(_) | Data::List(_) | Data::Map(_) => Some(
                                Fault::error(span, "a key is a word, not a list or a map")
                                    .hint("a text that begins with `[` or `{` has to be quoted, as in \"[::1]:3000\""),
                            ),
                        };
                        self.faults.extend(fault);
                        open.broken = true;
                        None
                    }
                };
                if let Some(first) = entries.iter().find(|entry| Some(&entry.key) == text.as_ref()) {
                    let fault = Fault::error(span, format!("the key `{}` is written twice", first.key));
                    self.faults.push(fault.also("first here:", first.key_span));
                }
                *key = Some(Key { text, span });
            }
            OpenKind::Map(entries, key) => {
                if let Some(Key { text: Some(text), span }) = key.take() {
                    entries.push(Entry { key: text, key_span: span, value: node });
                }
            }
        }
    }

    fn span(&self, span: &EventSpan) -> Span {
        let (line, col) = (span.start.line(), span.start.col());
        let length = || self.lines.get(line.saturating_sub(1)).map_or(0, |line| line.trim_end().chars().count());
        let len = match span.end.line() == line {
            true => span.end.col().saturating_sub(col),
            false => length().saturating_sub(col),
        };
        place(self.file, self.edits, line, col, len)
    }
}

// === impl Open ===

impl Open {
    /// The value of `<<` comes next.
    fn merges(&self) -> bool {
        matches!(&self.kind, OpenKind::Map(_, Some(Key { text: Some(text), .. })) if text == "<<")
    }

    fn close(self) -> Node {
        let data = match self.kind {
            _ if self.broken => Data::Broken,
            OpenKind::List(nodes) => Data::List(nodes),
            OpenKind::Map(entries, _) => Data::Map(entries),
        };
        Node { span: self.span, data }
    }
}

// === impl Node ===

impl Node {
    /// The value of a key, where this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        match &self.data {
            Data::Map(entries) => entries.iter().find(|entry| entry.key == key),
            Data::Scalar(_) | Data::List(_) | Data::Broken => None,
        }
    }
}

// === impl Scalar ===

impl Scalar {
    /// What it is. Quoted scalars are text; so are expanded ones, until something else is wanted.
    pub(super) fn kind(&self) -> Kind {
        if self.plain && self.written.is_none() { kind(&self.text) } else { Kind::Text }
    }
}

/// What a plain scalar is by YAML 1.2's core schema.
pub(super) fn kind(text: &str) -> Kind {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Kind::Null,
        "true" | "True" | "TRUE" => return Kind::Bool(true),
        "false" | "False" | "FALSE" => return Kind::Bool(false),
        _ => {}
    }
    let digits = text.trim_start_matches(['+', '-']);
    if text.len() - digits.len() > 1 {
        return Kind::Text;
    }
    let number = |digits: &str, radix| match i128::from_str_radix(digits, radix) {
        Ok(number) => Kind::Int(number),
        // A number beyond all ranges is still a number.
        Err(_) if !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix)) => Kind::Int(i128::MAX),
        Err(_) => Kind::Text,
    };
    if let Some(octal) = text.strip_prefix("0o") {
        return number(octal, 8);
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return number(hex, 16);
    }
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return match (number(digits, 10), text.starts_with('-')) {
            (Kind::Int(number), true) => Kind::Int(-number),
            (kind, _) => kind,
        };
    }
    let numeric = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits.contains(|c: char| c.is_ascii_digit())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    match digits.parse::<f64>() {
        Ok(float) if numeric => Kind::Float(if text.starts_with('-') { -float } else { float }),
        _ => Kind::Text,
    }
}
