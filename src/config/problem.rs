//! A fault in the file, and the place in the tree that it is about. `compile` finds the faults of meaning and names
//! their place as an [`At`]; `Loaded::locate` turns it into `file:line:column` and the line itself.

use std::fmt;

/// A place in the file's tree: `At::root().key("routes").index(2).key("upstream")`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct At(Vec<Step>);

/// One step down the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Into a map, to this key's value.
    Key(String),
    /// Into a list, counted from 0 over all included files.
    Index(usize),
}

/// A fault, before its place in the text is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where in the tree. A place that isn't written (a default) shows as the nearest one above it that is.
    pub at: At,
    /// Whether it stops the file.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop; keys and values in backticks.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Whether a problem stops the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file is accepted; this is surely not what was meant.
    Warning,
}

// === impl At ===

impl At {
    /// The whole file.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// The value of a key of this map.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.step(Step::Key(key.to_owned()))
    }

    /// An element of this list, counted from 0.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if depth == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

// === impl Problem ===

impl Problem {
    /// A fault that stops the file.
    #[must_use]
    pub fn error(at: At, message: impl Into<String>) -> Self {
        Self { at, severity: Severity::Error, message: message.into(), hint: None }
    }

    /// A fault that doesn't.
    #[must_use]
    pub fn warning(at: At, message: impl Into<String>) -> Self {
        Self { at, severity: Severity::Warning, message: message.into(), hint: None }
    }

    /// With what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
