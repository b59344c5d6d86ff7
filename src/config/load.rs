//! A path -> the configuration, or every fault of its text. What the file includes and refers to is read here and
//! nowhere else; the list of it is what a watcher watches.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::expand::{self, Outside};
use super::problem::{At, Problem, Severity, Step};
use super::source::{Fault, FileId, LocatedProblem, Sources, Span};
use super::store::SEQUENCE;
use super::tree::{self, Data, Entry, Kind, Node};
use super::validate::validate;
use super::{Config, PluginSchemas, names, schema};

/// A configuration whose form is right, with what is needed to say where in the text a later problem is.
pub struct Loaded {
    /// What was written.
    pub config: Config,
    /// What is surely not meant, but stops nothing.
    pub warnings: Vec<LocatedProblem>,
    /// What it was read from.
    pub dependencies: Dependencies,
    tree: Node,
    sources: Sources,
}

/// Why a file was refused.
#[derive(Debug)]
pub struct LoadError {
    /// All that was found, in the order of the text; warnings among them. At least one is an error.
    pub problems: Vec<LocatedProblem>,
    /// What was read, or should have been: a change of it may help.
    pub dependencies: Dependencies,
}

/// What a configuration was read from: a change of any of it may change the configuration.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// The file itself, included files, and those that `${file:..}` names, whether or not they exist; each with a digest
    /// of what was read. One taken later could be that of a text that nobody has read.
    files: BTreeMap<PathBuf, u64>,
    /// The patterns of `include`, each with the files that were found: a new one is a change, too.
    patterns: BTreeMap<PathBuf, Found>,
}

/// What a pattern of `include` names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    /// The pattern, its directory's own special characters escaped.
    pattern: String,
    files: Vec<PathBuf>,
}

/// Reads and checks a file and all that it names. `plugins` are the settings' schemas of the plugins that there are.
///
/// # Errors
/// All problems of form at once, each with its place; also where a file can't be read.
pub fn load(path: &Path, plugins: &PluginSchemas) -> Result<Loaded, LoadError> {
    load_with(path, plugins, &|name| std::env::var(name).ok())
}

/// The same with the environment given, so that tests are pure.
pub(super) fn load_with(
    path: &Path,
    plugins: &PluginSchemas,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, LoadError> {
    let mut reader = Reader::new(path);
    let tree = reader.tree(variable);
    let schema = schema::whole(plugins);
    let (dependencies, directories) = (&mut reader.dependencies, &reader.directories);
    let mut read = |file: FileId, path: &Path| {
        let path = directories.get(file.index()).map_or_else(|| path.to_owned(), |directory| directory.join(path));
        let text = dependencies.read(&path);
        (path, text)
    };
    let value = tree.as_ref().map(|tree| validate(tree, &schema, &mut read, &mut reader.faults));
    let Reader { sources, mut faults, dependencies, .. } = reader;
    let refused = |faults: &[Fault]| faults.iter().any(|fault| fault.severity == Severity::Error);
    if let (Some(tree), true) = (&tree, refused(&faults)) {
        names::check(tree, &mut faults);
    }
    let mut config = None;
    if let (Some(value), Some(tree), false) = (value, &tree, refused(&faults)) {
        match serde_yaml::with::singleton_map_recursive::deserialize(value) {
            Ok(decoded) => config = Some(decoded),
            // The validator should have found it; a refusal without a good place is better than a wrong acceptance.
            Err(error) => {
                let message = redact(tree, &format!("the file could not be decoded: {error}"));
                faults.push(Fault::error(tree.span, message));
            }
        }
    }
    faults.sort_by_key(|fault| (fault.span, fault.severity == Severity::Warning));
    faults.dedup();
    let problems = faults.into_iter().map(|fault| sources.render(fault)).collect();
    match (config, tree) {
        (Some(config), Some(tree)) => Ok(Loaded { config, warnings: problems, dependencies, tree, sources }),
        _ => Err(LoadError { problems, dependencies }),
    }
}

struct Reader<'a> {
    top: &'a Path,
    sources: Sources,
    /// The directory of each source.
    directories: Vec<PathBuf>,
    faults: Vec<Fault>,
    dependencies: Dependencies,
}

impl<'a> Reader<'a> {
    fn new(top: &'a Path) -> Self {
        Self {
            top,
            sources: Sources::default(),
            directories: Vec::new(),
            faults: Vec::new(),
            dependencies: Dependencies::default(),
        }
    }

    /// The whole tree: included files merged in, references expanded. `None` where there are faults of syntax.
    fn tree(&mut self, variable: &dyn Fn(&str) -> Option<String>) -> Option<Node> {
        let (file, text) = self.read(self.top, &self.top.display().to_string(), None)?;
        let before = self.faults.len();
        let Some(mut tree) = tree::parse(file, &text, &mut self.faults) else {
            if self.faults.len() == before {
                let fault = Fault::error(Span::file(file), "the file is empty");
                self.faults.push(
                    fault.hint("it needs at least `listeners: [{ address: 0.0.0.0:8080 }]`, and something in `routes`"),
                );
            }
            return None;
        };
        self.expand(&mut tree, variable);
        let patterns = self.patterns(&tree);
        for (pattern, span) in patterns {
            for path in self.matches(&pattern, span) {
                if let Some(mut included) = self.included(&path, span) {
                    self.expand(&mut included, variable);
                    self.merge(&mut tree, included);
                }
            }
        }
        Some(tree)
    }

    fn expand(&mut self, tree: &mut Node, variable: &dyn Fn(&str) -> Option<String>) {
        let (dependencies, directories) = (&mut self.dependencies, &self.directories);
        let mut file = |path: &Path| dependencies.read(path);
        let directory = |file: FileId| directories.get(file.index()).cloned().unwrap_or_default();
        expand::expand(tree, &mut Outside { variable, file: &mut file }, &directory, &mut self.faults);
    }

    /// Reads a text. What is wrong with it is a fault at `span`, or of the file itself.
    fn read(&mut self, path: &Path, name: &str, span: Option<Span>) -> Option<(FileId, String)> {
        match self.dependencies.read(path) {
            Ok(text) => {
                self.directories.push(path.parent().map(Path::to_owned).unwrap_or_default());
                Some((self.sources.add(name.to_owned(), &text), text))
            }
            Err(reason) => {
                let fault = match span {
                    Some(span) => Fault::error(span, format!("`{name}` can't be read: {reason}")),
                    None => {
                        self.directories.push(PathBuf::new());
                        let file = self.sources.add(name.to_owned(), "");
                        Fault::error(Span::file(file), format!("the file can't be read: {reason}"))
                    }
                };
                self.faults.push(fault);
                None
            }
        }
    }

    /// The entries of `include`; what is no text is the validator's to complain about.
    fn patterns(&self, tree: &Node) -> Vec<(String, Span)> {
        let Some(Entry { value: Node { data: Data::List(nodes), .. }, .. }) = tree.get("include") else {
            return Vec::new();
        };
        let text = |node: &Node| match &node.data {
            Data::Scalar(scalar) if scalar.kind() == Kind::Text && !scalar.text.is_empty() => {
                Some((scalar.text.clone(), node.span))
            }
            Data::Scalar(_) | Data::List(_) | Data::Map(_) | Data::Broken => None,
        };
        nodes.iter().filter_map(text).collect()
    }

    /// The files that a pattern names, sorted.
    fn matches(&mut self, pattern: &str, span: Span) -> Vec<PathBuf> {
        let base = self.directories.first().cloned().unwrap_or_default();
        let path = base.join(pattern);
        if !pattern.contains(['*', '?', '[']) {
            if path.is_dir() {
                let fault = Fault::error(span, format!("`{pattern}` is a directory"));
                self.faults.push(fault.hint(format!("write `{}/*.yaml`", pattern.trim_end_matches('/'))));
                return Vec::new();
            }
            return vec![path];
        }
        // The directory itself may hold characters that mean something in a pattern.
        let escaped = Path::new(&glob::Pattern::escape(&base.to_string_lossy())).join(pattern);
        let escaped = escaped.to_string_lossy().into_owned();
        let found = find(&escaped);
        let files = found.as_ref().cloned().unwrap_or_default();
        self.dependencies.patterns.insert(path, Found { pattern: escaped, files });
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                self.faults.push(Fault::error(span, format!("`{pattern}` is no pattern: {}", error.msg)));
                return Vec::new();
            }
        };
        if found.is_empty() {
            self.faults.push(Fault::warning(span, format!("no file matches `{pattern}`")));
        }
        found
    }

    /// One included file's tree; `None` where there is none.
    fn included(&mut self, path: &Path, span: Span) -> Option<Node> {
        if self.top == path || self.top.canonicalize().ok().is_some_and(|top| path.canonicalize().ok() == Some(top)) {
            self.faults.push(Fault::error(span, "the file includes itself"));
            return None;
        }
        let (file, text) = self.read(path, &path.display().to_string(), Some(span))?;
        let mut tree = tree::parse(file, &text, &mut self.faults)?;
        let Data::Map(entries) = &mut tree.data else {
            let fault = Fault::error(tree.span, format!("an included file is a map of {ADDED}"));
            self.faults.push(fault);
            return None;
        };
        for section in ["include", "process", "admin", "telemetry", "cookies"] {
            if let Some(entry) = entries.iter().find(|entry| entry.key == section) {
                let message = match section {
                    "include" => "an included file can't include others".to_owned(),
                    _ => format!("`{section}` stands in the first file only"),
                };
                let fault = Fault::error(entry.key_span, message);
                self.faults.push(fault.hint(format!("an included file adds {ADDED}")));
            }
            entries.retain(|entry| entry.key != section);
        }
        Some(tree)
    }

    /// Adds an included file's sections: lists are joined, maps are one namespace.
    fn merge(&mut self, into: &mut Node, from: Node) {
        let (Data::Map(sections), Data::Map(added)) = (&mut into.data, from.data) else { return };
        for entry in added {
            let Some(section) = sections.iter_mut().find(|section| section.key == entry.key) else {
                sections.push(entry);
                continue;
            };
            match (&mut section.value.data, entry.value.data) {
                (Data::List(nodes), Data::List(added)) => nodes.extend(added),
                (Data::Map(entries), Data::Map(added)) => {
                    for entry in added {
                        match entries.iter().find(|first| first.key == entry.key) {
                            Some(first) => {
                                let message = format!("`{}` is defined twice in `{}`", entry.key, section.key);
                                let fault = Fault::error(entry.key_span, message);
                                self.faults.push(fault.also("first here:", first.key_span));
                            }
                            None => entries.push(entry),
                        }
                    }
                }
                // Of another kind: that is a fault of one of the two, and this says which were compared.
                _ => {
                    let message = format!("`{}` has another form here than in the first file", entry.key);
                    self.faults.push(Fault::error(entry.key_span, message).also("there:", section.key_span));
                }
            }
        }
    }
}

/// What an included file may have.
const ADDED: &str = "`listeners`, `stores`, `sessions`, `upstreams` and `routes`";

/// The files that a pattern names, sorted.
fn find(pattern: &str) -> Result<Vec<PathBuf>, glob::PatternError> {
    // An editor's own files (`.a.yaml.swp`) are hidden ones.
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..glob::MatchOptions::default() };
    let found = glob::glob_with(pattern, options)?;
    Ok(found.filter_map(Result::ok).filter(|path| path.is_file()).collect())
}

/// Reads a regular file as text, and says in words why it can't.
fn read_text(path: &Path) -> Result<String, String> {
    /// Larger is no configuration and no secret; it bounds what a wrong path (`/dev/zero`) costs.
    const BYTES: u64 = 16 << 20;
    // The kind says it without the system's number: "permission denied", "entity not found".
    let reason = |error: std::io::Error| match error.kind() == ErrorKind::NotFound {
        true => "there is no such file".to_owned(),
        false => error.kind().to_string(),
    };
    let metadata = std::fs::metadata(path).map_err(reason)?;
    if metadata.is_dir() {
        return Err("it is a directory".into());
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(reason)?;
    file.take(BYTES + 1).read_to_end(&mut bytes).map_err(reason)?;
    if bytes.len() as u64 > BYTES {
        return Err("it is larger than 16 MiB".into());
    }
    String::from_utf8(bytes).or_else(|error| {
        let bytes = error.as_bytes();
        // DER: its length, beyond 127 bytes, is no UTF-8 after the first byte. It is text in that each byte is a character.
        if bytes[0] == SEQUENCE && bytes.get(1).is_some_and(|length| *length > 0x80) {
            return Ok(bytes.iter().copied().map(char::from).collect());
        }
        let valid = error.utf8_error().valid_up_to();
        let line = bytes.iter().take(valid).filter(|byte| **byte == b'\n').count() + 1;
        Err(format!("line {line} is not UTF-8 text"))
    })
}

/// `text` with what came from outside of the file below `node` as it is written there.
fn redact(node: &Node, text: &str) -> String {
    let mut values = expand::values(node);
    values.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    values.iter().fold(text.to_owned(), |text, (value, written)| text.replace(value, written))
}

fn digest(text: &Result<String, String>) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

// === impl Dependencies ===

impl Dependencies {
    /// The files and patterns.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.keys().chain(self.patterns.keys()).map(PathBuf::as_path)
    }

    /// Whether any of it is not as it was read.
    pub fn changed(&self) -> bool {
        self.files.iter().any(|(file, read)| digest(&read_text(file)) != *read)
            || self.patterns.values().any(|found| find(&found.pattern).unwrap_or_default() != found.files)
    }

    fn read(&mut self, path: &Path) -> Result<String, String> {
        let text = read_text(path);
        // Of a file that is named twice the first reading counts: if the second differs, that is a change.
        self.files.entry(path.to_owned()).or_insert_with(|| digest(&text));
        text
    }
}

/// A path may come from outside of the file.
impl fmt::Debug for Dependencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dependencies({} files, {} patterns)", self.files.len(), self.patterns.len())
    }
}

// === impl Loaded ===

impl Loaded {
    /// The problem with its place in the text. Where nothing is written at the place (a default), the nearest place
    /// above it that is. What came from outside of the file is shown as it is written there.
    #[must_use]
    pub fn locate(&self, problem: Problem) -> LocatedProblem {
        let Problem { at, severity, message, hint } = problem;
        let (node, span) = self.find(&at);
        let fault = Fault {
            span,
            severity,
            message: redact(node, &message),
            hint: hint.map(|hint| redact(node, &hint)),
            also: None,
        };
        self.sources.render(fault)
    }

    /// The node at a place, and what to mark: the value, or the key where the value is a list or map of its own lines.
    fn find(&self, at: &At) -> (&Node, Span) {
        let (mut node, mut span) = (&self.tree, self.tree.span);
        for step in at.steps() {
            let below = match (step, &node.data) {
                (Step::Key(key), _) => node.get(key).map(|entry| (&entry.value, Some(entry.key_span))),
                (Step::Index(index), Data::List(nodes)) => nodes.get(*index).map(|node| (node, None)),
                (Step::Index(0), Data::Scalar(_)) => Some((node, None)),
                (Step::Index(_), _) => None,
            };
            let Some((next, key)) = below else { break };
            node = next;
            span = match (&node.data, key) {
                (Data::List(_) | Data::Map(_), Some(key)) => key,
                (Data::Map(entries), None) => entries.first().map_or(node.span, |entry| entry.key_span),
                _ => node.span,
            };
        }
        (node, span)
    }
}

/// The tree and the texts may hold secrets.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("dependencies", &self.dependencies).finish_non_exhaustive()
    }
}

// === impl LoadError ===

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.problems.iter().enumerate() {
            let gap = if number > 0 { "\n\n" } else { "" };
            write!(f, "{gap}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}
