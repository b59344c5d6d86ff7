//! YAML's own traps: why a text is not YAML, said in the words of what was meant, and mended where that is certain.

/// Why the parser stopped, and where.
pub(super) struct Trap {
    /// From 1.
    pub(super) line: usize,
    /// Characters before it on its line.
    pub(super) col: usize,
    pub(super) len: usize,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// What makes it YAML, so that reading can go on to find more.
    pub(super) mend: Option<Edit>,
}

/// A change to one line, in characters.
#[derive(Debug)]
pub(super) struct Edit {
    pub(super) line: usize,
    start: usize,
    old: usize,
    new: String,
}

/// Explains a scan error at `line` (from 1) and `col` (from 0).
pub(super) fn explain(lines: &[String], line: usize, col: usize, info: &str) -> Trap {
    let at = Place::new(lines, line, col);
    tab(&at, info)
        .or_else(|| invisible(lines, &at))
        .or_else(|| leading_character(&at, info))
        .or_else(|| quotes(&at, info))
        .or_else(|| brace_or_bracket(&at))
        .or_else(|| unclosed(lines, &at, info))
        .or_else(|| missing_space(lines, &at))
        .or_else(|| colon_in_value(lines, &at, info))
        .or_else(|| layout(lines, &at, info))
        .unwrap_or_else(|| at.trap(1, format!("this is not YAML: {info}")))
}

/// A place in the text, with its line as characters.
struct Place {
    line: usize,
    col: usize,
    chars: Vec<char>,
}

impl Place {
    fn new(lines: &[String], line: usize, col: usize) -> Self {
        // The end of the text is a place on the last line that has something.
        let mut line = line.clamp(1, lines.len().max(1));
        let mut col = col;
        while line > 1 && lines.get(line - 1).is_none_or(|text| text.trim().is_empty()) {
            line -= 1;
            col = lines.get(line - 1).map_or(0, |text| text.trim_end().chars().count());
        }
        let chars: Vec<char> = lines.get(line - 1).map(|text| text.chars().collect()).unwrap_or_default();
        let col = col.min(chars.len());
        Self { line, col, chars }
    }

    fn at(&self, col: usize) -> Option<char> {
        self.chars.get(col).copied()
    }

    fn text(&self, from: usize, to: usize) -> String {
        self.chars.get(from..to.min(self.chars.len())).unwrap_or_default().iter().collect()
    }

    fn all(&self) -> String {
        self.chars.iter().collect()
    }

    /// Where the word that covers `col` ends: at a space, a comma or a closing bracket outside of `${}`.
    fn word_end(&self, from: usize) -> usize {
        let mut depth = 0_usize;
        for (col, c) in self.chars.iter().enumerate().skip(from) {
            match c {
                '{' | '[' => depth += 1,
                '}' | ']' if depth > 0 => depth -= 1,
                ' ' | '\t' | ',' | ']' | '}' if depth == 0 => return col,
                _ => {}
            }
        }
        self.chars.len()
    }

    /// Where a value that runs to the end of its line ends: before a comment and the spaces there.
    fn value_end(&self, from: usize) -> usize {
        let rest = self.text(from, self.chars.len());
        let rest = rest.find(" #").map_or(rest.as_str(), |comment| rest.get(..comment).unwrap_or(&rest));
        from + rest.trim_end().chars().count()
    }

    fn trap(&self, len: usize, message: impl Into<String>) -> Trap {
        Trap { line: self.line, col: self.col, len, message: message.into(), hint: None, mend: None }
    }

    /// A trap whose way out is to quote what is from `from` to `to`.
    fn quote(&self, from: usize, to: usize, why: &str) -> Trap {
        let token = self.text(from, to);
        let quoted = quoted(&token);
        Trap {
            line: self.line,
            col: from,
            len: to - from,
            message: format!("`{token}` has to be quoted: {why}"),
            hint: Some(format!("write {quoted}")),
            mend: Some(Edit { line: self.line, start: from, old: to - from, new: quoted }),
        }
    }
}

fn quoted(token: &str) -> String {
    match token.contains(['"', '\\']) {
        true => format!("'{}'", token.replace('\'', "''")),
        false => format!("\"{token}\""),
    }
}

fn tab(at: &Place, info: &str) -> Option<Trap> {
    let indent = at.chars.iter().take_while(|c| c.is_whitespace()).position(|c| *c == '\t')?;
    info.contains("tab").then(|| Trap {
        col: indent,
        hint: Some("YAML is indented with spaces only; set your editor to write them".into()),
        ..at.trap(1, "a tab in the indentation")
    })
}

/// A no-break space and its like, which come with texts that are copied from a page.
fn invisible(lines: &[String], at: &Place) -> Option<Trap> {
    const INVISIBLE: [char; 7] = ['\u{a0}', '\u{2007}', '\u{202f}', '\u{3000}', '\u{200b}', '\u{feff}', '\u{2003}'];
    [Some(at.line), above(lines, at.line)].into_iter().flatten().find_map(|line| {
        let place = Place::new(lines, line, 0);
        let col = place.chars.iter().position(|c| INVISIBLE.contains(c))?;
        let code = place.at(col).map_or(0, u32::from);
        let old = place.chars.iter().skip(col).take_while(|c| INVISIBLE.contains(c)).count();
        Some(Trap {
            col,
            hint: Some("it comes with copied text; type the spaces anew".into()),
            mend: Some(Edit { line, start: col, old, new: " ".repeat(old) }),
            ..place.trap(old, format!("an invisible character (U+{code:04X}) where a space is meant"))
        })
    })
}

/// The nearest line above that says something.
fn above(lines: &[String], line: usize) -> Option<usize> {
    (1..line).rev().find(|line| lines.get(line - 1).is_some_and(|text| has_content(text)))
}

/// `*.example.com`, `@name`, `%x`: characters that mean something at the beginning of a value.
fn leading_character(at: &Place, info: &str) -> Option<Trap> {
    let first = at.at(at.col)?;
    let why = match first {
        '*' => "to YAML a leading `*` is an alias",
        '&' => "to YAML a leading `&` is an anchor",
        '@' | '`' => "a value can't begin with this character",
        '%' => "a value can't begin with `%`",
        _ => return None,
    };
    let named = info.contains("anchor") || info.contains("alias") || info.contains("unexpected character");
    if !named {
        return None;
    }
    let before = at.text(0, at.col);
    if first == '*' && before.trim_start().trim_start_matches("- ").trim_start() == "<<: " {
        let trap = at.trap(at.word_end(at.col) - at.col, "a merge key (`<<: *name`) has no meaning here");
        return Some(Trap { hint: Some("write the keys out".into()), ..trap });
    }
    Some(at.quote(at.col, at.word_end(at.col).max(at.col + 1), why))
}

/// `${X}` in `{}` or `[]`, `[::1]:80`, `{scheme}://{host}`.
fn brace_or_bracket(at: &Place) -> Option<Trap> {
    let here = at.at(at.col)?;
    let before = at.col.checked_sub(1).and_then(|col| at.at(col))?;
    if here == '{' && before == '$' {
        let mut from = at.col - 1;
        while from > 0 && at.at(from - 1).is_some_and(|c| !" \t,[{".contains(c)) {
            from -= 1;
        }
        return Some(at.quote(from, at.word_end(from), "inside `{}` and `[]` a `{` begins a map"));
    }
    // `sess:{id}`, `redis://[::1]`.
    let next = at.at(at.col + 1).filter(|_| here == ':');
    let brace = next
        .filter(|next| "[{".contains(*next))
        .or(Some(here).filter(|_| "[{".contains(here) && !" ,[{".contains(before)));
    if let Some(brace) = brace {
        let from =
            (0..at.col).rev().find(|col| at.at(*col).is_none_or(|c| " \t,[{".contains(c))).map_or(0, |col| col + 1);
        let what = if brace == '{' { "a map" } else { "a list" };
        return Some(at.quote(from, at.word_end(from), &format!("inside `{{}}` and `[]` a `{brace}` begins {what}")));
    }
    let (open, what) = match before {
        ']' => ('[', "to YAML a leading `[` begins a list"),
        '}' => ('{', "to YAML a leading `{` begins a map"),
        _ => return None,
    };
    if here.is_whitespace() || ",]}#".contains(here) {
        return None;
    }
    let from = (0..at.col).rev().find(|col| at.at(*col) == Some(open))?;
    Some(at.quote(from, at.word_end(at.col), what))
}

/// A bracket that is opened and never closed, or closed and never opened.
fn unclosed(lines: &[String], at: &Place, info: &str) -> Option<Trap> {
    if info.contains("misplaced bracket") {
        let close = at.at(at.col)?;
        return Some(at.trap(1, format!("`{close}` closes nothing")));
    }
    let flow = ["flow", "','", "illegal placement of ':'", "node content", "simple key"]
        .iter()
        .any(|word| info.contains(word));
    let (line, col, open) = innermost_open(lines, at.line, at.col).filter(|_| flow)?;
    if line == at.line && !info.contains("end of stream") && at.at(at.col).is_some() {
        return None;
    }
    let close = if open == '[' { ']' } else { '}' };
    let place = Place::new(lines, line, col);
    if info.contains("indentation") {
        let hint = format!("indent what is inside `{open}{close}`, and its end, deeper than its key");
        return Some(Trap {
            hint: Some(hint),
            ..at.trap(1, format!("this line is inside of `{open}`, and not indented"))
        });
    }
    // Where the next line is already something else, the end of this one is where it was meant to close.
    let end = place.value_end(place.col);
    let mend = (at.line == line + 1).then(|| Edit { line, start: end, old: 0, new: close.into() });
    Some(Trap { mend, ..place.trap(1, format!("this `{open}` is never closed: `{close}` is missing")) })
}

/// The innermost bracket that is open at a place, read lightly: quotes and comments are skipped.
fn innermost_open(lines: &[String], line: usize, col: usize) -> Option<(usize, usize, char)> {
    let mut open = Vec::new();
    for (number, text) in lines.iter().enumerate().take(line) {
        let (mut quote, mut before) = (None, ' ');
        for (place, c) in text.chars().enumerate() {
            if number + 1 == line && place >= col {
                break;
            }
            match (quote, c) {
                (Some(end), c) if c == end => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') if before.is_whitespace() || "[{,:".contains(before) => quote = Some(c),
                (None, '#') if before.is_whitespace() => break,
                // In a plain scalar outside of brackets they are ordinary characters.
                (None, '[' | '{') if !open.is_empty() || before.is_whitespace() => open.push((number + 1, place, c)),
                (None, ']' | '}') => drop(open.pop()),
                (None, _) => {}
            }
            before = c;
        }
    }
    open.pop()
}

/// `key:value`, on the line of the error or on the one above, which the parser takes for text that goes on.
fn missing_space(lines: &[String], at: &Place) -> Option<Trap> {
    [Some(at.line), above(lines, at.line)].into_iter().flatten().find_map(|line| {
        let text = lines.get(line - 1)?;
        let place = Place::new(lines, line, 0);
        let start = place.chars.iter().position(|c| !c.is_whitespace() && *c != '-')?;
        let key: String =
            place.chars.iter().skip(start).take_while(|c| c.is_ascii_alphanumeric() || **c == '_').collect();
        let colon = start + key.chars().count();
        let next = place.at(colon + 1)?;
        let spaced = text.contains(": ") || text.trim_end().ends_with(':');
        if key.is_empty() || place.at(colon) != Some(':') || next.is_whitespace() || next == '/' || spaced {
            return None;
        }
        if key.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Trap {
            col: colon,
            mend: Some(Edit { line, start: colon + 1, old: 0, new: " ".into() }),
            ..place.trap(1, format!("a space is missing after `{key}:`"))
        })
    })
}

fn has_content(text: &str) -> bool {
    let text = text.trim_start();
    !text.is_empty() && !text.starts_with('#')
}

/// `host: 3000: x`, `health_check: http: /healthz`: two keys on one line, or a colon in a value.
fn colon_in_value(lines: &[String], at: &Place, info: &str) -> Option<Trap> {
    if !info.contains("mapping values are not allowed") {
        return None;
    }
    let line = at.all();
    let first =
        line.find(": ").map(|byte| line.get(..byte).unwrap_or_default().chars().count()).filter(|col| *col < at.col);
    let Some(first) = first else {
        let above = above(lines, at.line)?;
        let text = lines.get(above - 1)?.trim();
        if !text.contains(':') {
            let start = lines.get(above - 1)?.chars().take_while(|c| c.is_whitespace()).count();
            let word = text.trim_start_matches("- ");
            let place = Place::new(lines, above, start);
            let len = text.chars().count();
            return Some(place.trap(len, format!("a colon is missing after `{word}`")));
        }
        let start = at.chars.iter().take_while(|c| c.is_whitespace()).count();
        let hint = "give it the indentation of the line above, or leave that line's value out";
        let message = "this line is indented as if it belonged to the line above, which already has a value";
        return Some(Trap { col: start, hint: Some(hint.into()), ..at.trap(at.col - start, message) });
    };
    let from = (first + 1..at.col).find(|col| at.at(*col).is_some_and(|c| !c.is_whitespace()))?;
    let to = at.value_end(from);
    let value = at.text(from, to);
    let key: String = value.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
    let settings = !key.is_empty() && value.get(key.len()..).is_some_and(|rest| rest.starts_with(": "));
    if !settings {
        return Some(at.quote(from, to, "`: ` in a value begins a map to YAML"));
    }
    let braced = format!("{{ {value} }}");
    Some(Trap {
        col: from,
        hint: Some(format!("write `{braced}`, or put `{key}:` on a line of its own, indented deeper")),
        mend: Some(Edit { line: at.line, start: from, old: to - from, new: braced }),
        ..at.trap(to - from, "two keys on one line")
    })
}

/// Quotes that end too early or never, and escapes that don't exist.
fn quotes(at: &Place, info: &str) -> Option<Trap> {
    if info.contains("quoted scalar") && (info.contains("indentation") || info.contains("end of stream")) {
        let end = at.value_end(at.col);
        let quote = at.at(at.col).filter(|quote| "\"'".contains(*quote))?;
        let trap = at.trap(1, format!("this quote ({quote}) is never closed"));
        return Some(Trap { mend: Some(Edit { line: at.line, start: end, old: 0, new: quote.into() }), ..trap });
    }
    if info.contains("unknown escape") {
        let end = (at.col + 1..at.chars.len()).find(|col| at.at(*col) == Some('"') && at.at(col - 1) != Some('\\'))?;
        let inner = at.text(at.col + 1, end);
        let single = format!("'{}'", inner.replace('\'', "''"));
        return Some(Trap {
            hint: Some(format!("single quotes take it as it stands: {single}")),
            mend: Some(Edit { line: at.line, start: at.col, old: end + 1 - at.col, new: single }),
            ..at.trap(end + 1 - at.col, "in double quotes a backslash begins an escape, and this is none")
        });
    }
    if info.contains("trailing content") {
        let to = at.value_end(at.col).max(at.col + 1);
        let hint = "quote the whole value; a single quote inside of single quotes is written twice";
        return Some(Trap { hint: Some(hint.into()), ..at.trap(to - at.col, "text after the closing quote") });
    }
    None
}

/// Indentation, list items and keys that are not where they can be.
fn layout(lines: &[String], at: &Place, info: &str) -> Option<Trap> {
    let end = at.value_end(at.col).max(at.col + 1);
    if info.contains("simple key") {
        let line = [above(lines, at.line), Some(at.line)].into_iter().flatten().find(|line| {
            lines.get(line - 1).is_some_and(|text| !text.contains(": ") && !text.trim_end().ends_with(':'))
        })?;
        let text = lines.get(line - 1)?;
        let start = text.chars().take_while(|c| c.is_whitespace() || *c == '-').count();
        let word = text.trim().trim_start_matches("- ");
        let trap = Place::new(lines, line, start)
            .trap(word.chars().count(), format!("`{word}` is no key: a colon is missing"));
        return Some(trap);
    }
    let (message, hint): (&str, Option<&str>) = if info.contains("block sequence entries") {
        ("a list begins on a line of its own", Some("put `- ..` on the next line, or write the list as `[.., ..]`"))
    } else if info.contains("did not find expected '-'") {
        (
            "this line stands among list items, and is none",
            Some("begin it with `- `, or indent it like the keys of the item above"),
        )
    } else if info.contains("did not find expected key") {
        let message = "the indentation of this line fits none of the lines above";
        (message, Some("keys of one map begin in the same column"))
    } else if info.contains("node content") {
        ("a value is missing before this", None)
    } else if info.contains("block scalar") {
        ("text after `>` or `|` begins on the next line", Some("a value that begins with `>` or `|` has to be quoted"))
    } else {
        return None;
    };
    let len = if info.contains("node content") { 1 } else { end - at.col };
    Some(Trap { hint: hint.map(str::to_owned), ..at.trap(len, message) })
}

// === impl Edit ===

impl Edit {
    /// Makes the change; false where there is no such line.
    pub(super) fn apply(&self, lines: &mut [String]) -> bool {
        let Some(line) = lines.get_mut(self.line - 1) else { return false };
        let chars: Vec<char> = line.chars().collect();
        let head = chars.iter().take(self.start);
        let tail = chars.iter().skip(self.start + self.old);
        let changed: String = head.copied().chain(self.new.chars()).chain(tail.copied()).collect();
        let differs = changed != *line;
        *line = changed;
        differs
    }

    /// Whether a place after the change is in what it made.
    pub(super) fn covers(&self, line: usize, col: usize) -> bool {
        self.line == line && (self.start..=self.start + self.new.chars().count()).contains(&col)
    }

    /// Whether a later change would change what this one made.
    pub(super) fn meets(&self, later: &Self) -> bool {
        let end = self.start + self.new.chars().count();
        self.line == later.line && later.start <= end && later.start + later.old >= self.start
    }

    /// The column before the change of a column after it.
    pub(super) fn before(&self, col: usize) -> usize {
        let new = self.new.chars().count();
        match col {
            _ if col <= self.start => col,
            _ if col >= self.start + new => col - new + self.old,
            _ => col.min(self.start + self.old),
        }
    }
}
