//! `Body`: how much of a request's body is still to come, so that what follows it is left for the next request.

use crate::strictness::{Chunked, Framing, Violation};

/// A request body on its way.
#[derive(Debug, Default)]
pub(super) enum Body {
    /// There is none, or all of it has been handed on.
    #[default]
    Over,
    /// So many bytes are left.
    Length(u64),
    /// Its end is where its chunks say.
    Chunked(Chunked),
}

// === impl Body ===

impl Body {
    pub(super) fn new(framing: Framing) -> Self {
        match framing {
            Framing::Nothing => Self::Over,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(Chunked::default()),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// How many of `bytes`, which follow those given before, belong to it.
    ///
    /// # Errors
    /// It is not framed as the RFC has it.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let taken = match self {
            Self::Over => return Ok(0),
            Self::Length(left) => {
                let taken = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= taken as u64;
                if *left > 0 {
                    return Ok(taken);
                }
                taken
            }
            Self::Chunked(chunked) => match chunked.take(bytes)? {
                Some(taken) => taken,
                None => return Ok(bytes.len()),
            },
        };
        *self = Self::Over;
        Ok(taken)
    }
}
