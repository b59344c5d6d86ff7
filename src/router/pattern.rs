//! What is wrong with a pattern of the file, in words the configuration's problems can show as they are.

use std::fmt;

/// A host or path pattern that can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternError {
    /// What is wrong, without the place: the configuration knows that.
    pub message: String,
    /// What to write instead.
    pub hint: String,
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
