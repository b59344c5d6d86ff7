//! `${NAME}`, `${NAME:-default}` and `${file:/path}` in the tree's scalars. After parsing: a value never changes the
//! structure. What came from outside is never shown: a node that was expanded keeps what was written.

use std::path::{Path, PathBuf};

use super::source::{Fault, FileId, Span};
use super::tree::{Data, Node, Scalar};

/// Where values come from.
pub(super) struct Outside<'a> {
    /// An environment variable's value.
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    /// Reads a file as text, and notes that the configuration depends on it.
    pub(super) file: &'a mut dyn FnMut(&Path) -> Result<String, String>,
}

/// Expands all scalars below `node`; `directory` gives the base of relative paths in each text.
pub(super) fn expand(
    node: &mut Node,
    outside: &mut Outside<'_>,
    directory: &dyn Fn(FileId) -> PathBuf,
    faults: &mut Vec<Fault>,
) {
    let span = node.span;
    match &mut node.data {
        Data::Scalar(scalar) if scalar.text.contains("${") => {
            let base = directory(span.file);
            let mut reader = Reader { outside, base: &base, span, faults, whole: &scalar.text };
            match reader.value() {
                Some(text) => {
                    let written = Some(std::mem::replace(&mut scalar.text, text));
                    scalar.written = written.filter(|written| *written != scalar.text);
                }
                None => node.data = Data::Broken,
            }
        }
        Data::Scalar(_) | Data::Broken => {}
        Data::List(nodes) => nodes.iter_mut().for_each(|node| expand(node, outside, directory, faults)),
        Data::Map(entries) => {
            for entry in entries {
                if entry.key.contains("${") {
                    let fault = Fault::error(entry.key_span, "a key can't come from outside of the file");
                    faults.push(fault.hint("`${..}` stands in values only"));
                }
                expand(&mut entry.value, outside, directory, faults);
            }
        }
    }
}

/// Reads the references of one scalar.
struct Reader<'a, 'o> {
    outside: &'a mut Outside<'o>,
    base: &'a Path,
    span: Span,
    faults: &'a mut Vec<Fault>,
    whole: &'a str,
}

impl Reader<'_, '_> {
    /// The scalar with all references replaced; `None` where one can't be (that is a fault).
    fn value(&mut self) -> Option<String> {
        let mut value = String::new();
        let mut rest = self.whole;
        let mut sound = true;
        while let Some((before, after)) = rest.split_once("${") {
            // `$${` is `${` itself.
            if let Some(before) = before.strip_suffix('$') {
                value.push_str(before);
                value.push_str("${");
                rest = after;
                continue;
            }
            value.push_str(before);
            let Some((reference, after)) = after.split_once('}') else {
                self.fault("`${` is never closed: `}` is missing", Some("a `${` that means itself is written `$${`"));
                return None;
            };
            match self.reference(reference) {
                Some(text) => value.push_str(&text),
                None => sound = false,
            }
            rest = after;
        }
        value.push_str(rest);
        sound.then_some(value)
    }

    fn reference(&mut self, reference: &str) -> Option<String> {
        if let Some(path) = reference.strip_prefix("file:") {
            return self.file(path);
        }
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(word) || name.starts_with(|c: char| c.is_ascii_digit()) {
            let hint =
                "it is `${NAME}`, `${NAME:-default}` or `${file:/path}`; a `${` that means itself is written `$${`";
            self.fault(&format!("`${{{reference}}}` names no variable"), Some(hint));
            return None;
        }
        if default.is_some_and(|default| default.contains("${")) {
            self.fault("a default can't hold another `${..}`", None);
            return None;
        }
        match ((self.outside.variable)(name), default) {
            (Some(value), None) => Some(value),
            (Some(value), Some(_)) if !value.is_empty() => Some(value),
            (_, Some(default)) => Some(default.to_owned()),
            (None, None) => {
                let hint = match name {
                    "id" | "sid" => "the id of a session stands as `{id}`, without the `$`".into(),
                    "jti" => "the id of a token stands as `{jti}`, without the `$`".into(),
                    _ => format!("set it, or give a default: `${{{name}:-value}}`"),
                };
                self.fault(&format!("the environment variable `{name}` is not set"), Some(&hint));
                None
            }
        }
    }

    fn file(&mut self, path: &str) -> Option<String> {
        if path.is_empty() {
            self.fault("`${file:}` names no file", Some("as in `${file:/run/secrets/token}`"));
            return None;
        }
        match (self.outside.file)(&self.base.join(path)) {
            // An editor's closing line break is not part of a secret.
            Ok(text) => {
                Some(text.strip_suffix('\n').map_or(text.as_str(), |text| text.trim_end_matches('\r')).to_owned())
            }
            Err(reason) => {
                self.fault(&format!("`{path}` can't be read: {reason}"), None);
                None
            }
        }
    }

    /// The mark stands under the whole scalar: escapes and folding make a finer place a guess.
    fn fault(&mut self, message: &str, hint: Option<&str>) {
        let mut fault = Fault::error(self.span, message);
        fault.hint = hint.map(str::to_owned);
        self.faults.push(fault);
    }
}

/// The values that came from outside below `node`, and what was written for each.
pub(super) fn values(node: &Node) -> Vec<(&str, &str)> {
    match &node.data {
        Data::Scalar(Scalar { text, written: Some(written), .. }) if !text.is_empty() => vec![(text, written)],
        Data::Scalar(_) | Data::Broken => Vec::new(),
        Data::List(nodes) => nodes.iter().flat_map(values).collect(),
        Data::Map(entries) => entries.iter().flat_map(|entry| values(&entry.value)).collect(),
    }
}
