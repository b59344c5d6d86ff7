//! `HeadEnd`: finds where a request head ends, however its bytes are cut.
//!
//! Where it is mistaken nothing is lost: it only decides which bytes Pingora reads at once.

/// The end of a head: the first empty line after one that is not. Lines end as Pingora's parser has it, by LF with or
/// without CR, and empty lines before the first do not count.
#[derive(Debug, Default)]
pub(super) struct HeadEnd {
    /// There was a line that is not empty.
    begun: bool,
    /// What the present line has so far.
    line: Line,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    #[default]
    Nothing,
    Cr,
    Something,
}

// === impl HeadEnd ===

impl HeadEnd {
    /// How many of `bytes`, which continue those given before, belong to the head if it ends in them.
    pub(super) fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut start = 0;
        for newline in memchr::memchr_iter(b'\n', bytes) {
            self.extend(&bytes[start..newline]);
            start = newline + 1;
            match self.line {
                Line::Nothing | Line::Cr if self.begun => return Some(start),
                Line::Nothing | Line::Cr => {}
                Line::Something => self.begun = true,
            }
            self.line = Line::Nothing;
        }
        self.extend(&bytes[start..]);
        None
    }

    fn extend(&mut self, part: &[u8]) {
        self.line = match (self.line, part) {
            (line, []) => line,
            (Line::Nothing, [b'\r']) => Line::Cr,
            _ => Line::Something,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_at_its_first_empty_line_however_it_is_cut() {
        for (head, rest) in [
            ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "GET /2 HTTP/1.1\r\n\r\n"),
            ("\r\n\r\n\nGET / HTTP/1.0\r\n\r\n", "\r\n"),
            ("GET / HTTP/1.1\nhost: a\n\n", "body\n\n"),
            ("GET / HTTP/1.1\r\nhost: a\n\r\n", ""),
            ("POST / HTTP/1.1\r\na: \r\r\n\rx\r\n\r\n", "\n\n"),
        ] {
            let all = format!("{head}{rest}");
            for cut in 0..=all.len() {
                let (first, second) = all.as_bytes().split_at(cut);
                let mut end = HeadEnd::default();
                let found = end.find(first).or_else(|| end.find(second).map(|length| cut + length));
                assert_eq!(found, Some(head.len()), "{all:?} cut at {cut}");
            }
            let mut end = HeadEnd::default();
            assert_eq!(end.find(&head.as_bytes()[..head.len() - 1]), None);
        }
    }
}
