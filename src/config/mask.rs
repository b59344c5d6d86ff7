//! A text as it may be shown: what is or may be a secret in it is starred out, character for character.
//!
//! It has to hold for texts that are not YAML at all, so it goes by lines and words, and rather stars out too much.

/// The lines of a text as they may be shown.
pub(super) struct Masked {
    lines: Vec<String>,
    /// What was starred out of each line.
    hidden: Vec<Vec<String>>,
}

/// Where the value of a secret's key began that goes on, as far as can be told.
struct Open {
    /// How deep its line is indented.
    indent: usize,
    /// It is the first key of a list's item.
    item: bool,
}

// === impl Masked ===

impl Masked {
    pub(super) fn of(lines: &[String]) -> Self {
        let mut open: Option<Open> = None;
        let mut masked = Self { lines: Vec::new(), hidden: Vec::new() };
        for (number, line) in lines.iter().enumerate() {
            if open.as_ref().is_some_and(|open| open.ends_before(line)) {
                open = None;
            }
            let shown = match open {
                Some(_) => line.chars().map(star).collect(),
                None => mask(line),
            };
            if open.is_none() && secret_value(line).is_some() && !names_a_map(line, lines.get(number + 1..)) {
                open = Some(Open { indent: indent(line), item: line.trim_start().starts_with('-') });
            }
            let hidden: String = line.chars().zip(shown.chars()).map(|(c, m)| if c == m { '\0' } else { c }).collect();
            masked.hidden.push(hidden.split('\0').filter(|word| !word.is_empty()).map(str::to_owned).collect());
            masked.lines.push(shown);
        }
        masked
    }

    /// A line, from 1.
    pub(super) fn line(&self, line: usize) -> Option<&str> {
        self.lines.get(line.checked_sub(1)?).map(String::as_str)
    }

    /// What is said of a line, from 1, without the secrets that it may quote: the line's own, as far as they are no keys
    /// that follow one, and those of other lines where they are too long to be ordinary words.
    pub(super) fn censor(&self, text: &str, line: usize) -> String {
        const LONG: usize = 7;
        // Shorter ones would star out parts of ordinary words, and tell nothing.
        const SHORT: usize = 3;
        let of_line = line.checked_sub(1).and_then(|line| self.hidden.get(line)).map(Vec::as_slice).unwrap_or_default();
        let near = of_line.iter().enumerate().filter(|(number, word)| *number == 0 || !word.ends_with(':'));
        let near = near.map(|(_, word)| (word, SHORT));
        let own = |words: &'_ [String]| words.iter().skip(1).take_while(|word| !word.ends_with(':')).count() + 1;
        let far = self.hidden.iter().flat_map(|words| words.iter().take(own(words))).map(|word| (word, LONG));
        let words = near.chain(far).map(|(word, least)| (word.trim_matches(':'), least));
        let words = words.filter(|(word, least)| word.chars().count() >= *least && !["true", "false"].contains(word));
        words.fold(text.to_owned(), |text, (word, _)| star_word(&text, word))
    }
}

// === impl Open ===

impl Open {
    /// Whether a line begins another key of the same map, or of one around it.
    fn ends_before(&self, line: &str) -> bool {
        let text = line.trim_start();
        let text = if self.item { text.trim_start_matches("- ") } else { text };
        indent(line) <= self.indent && begins_with_key(text)
    }
}

fn indent(line: &str) -> usize {
    line.chars().take_while(|c| c.is_whitespace()).count()
}

/// `token:` may be a name, as of a source of sessions: then what it holds begins with a key on the next line.
fn names_a_map(line: &str, below: Option<&[String]>) -> bool {
    let mut below = below.unwrap_or_default().iter().filter(|line| !line.trim().is_empty());
    let next = below.next().is_some_and(|next| indent(next) > indent(line) && begins_with_key(next.trim_start()));
    line.trim_end().ends_with(':') && next
}

/// The marks of YAML stay, so that the line can be read.
fn star(c: char) -> char {
    if " -\"'[]{},".contains(c) { c } else { '*' }
}

/// `key: ..`, as every line of a map does.
fn begins_with_key(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !"_-.".contains(c)).unwrap_or(text.len());
    let rest = text.get(end..).unwrap_or_default();
    let value = rest.strip_prefix(':').filter(|value| value.is_empty() || value.starts_with(' '));
    // What follows is no value: somebody wrote before a list's item.
    let item = value.is_some_and(|value| value.trim_start().starts_with("- "));
    end > 0 && !text.starts_with('-') && value.is_some() && !item
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
    // Whatever stands before an `@`: nothing else has one.
    for (at, _) in line.match_indices('@') {
        let before = line.get(..at).unwrap_or_default();
        let begins = |(at, c): &(usize, char)| {
            " \"'[,".contains(*c) || (*c == '{' && !before.get(..*at).is_some_and(|before| before.ends_with('$')))
        };
        let start = before.char_indices().rfind(begins).map_or(0, |(at, c)| at + c.len_utf8());
        let word = before.get(start..).unwrap_or_default();
        let word = word.split_once("://").map_or(word, |(_, word)| word).trim_start_matches(':');
        hide(at - word.len(), at);
    }
    for (at, scheme) in ["://", "redis:", "rediss:"].iter().flat_map(|word| line.match_indices(word)) {
        let rest = line.get(at + scheme.len()..).unwrap_or_default();
        let credentials = rest.trim_start_matches([':', '/']);
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
    let port = word.rsplit_once(':').is_none_or(|(host, port)| !host.contains(':') && port.parse::<u32>().is_ok());
    let has_password = rest.starts_with("//:") || rest.starts_with(':') || !port;
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
        let known = FOREIGN.contains(&key) || KEYS.iter().any(|word| near(word));
        if known && !is_reference(line.get(colon + 1..).unwrap_or_default()) {
            found = found.or(Some(colon + 1));
        }
    }
    for (at, word) in SECRET.iter().flat_map(|word| lower.match_indices(word)) {
        let after = lower.get(at..).unwrap_or_default();
        // Where the colon was forgotten, the first word of a line is still its key.
        let begins = lower.get(..at).is_some_and(|before| before.trim_start().trim_start_matches("- ").is_empty());
        let blank = after.find(' ').filter(|_| begins);
        // Or a quote stands in its place, or the line ends.
        let quote = after
            .find(['"', '\''])
            .filter(|quote| after.get(word.len()..*quote).is_some_and(|s| ["", "s"].contains(&s)));
        let over = Some(after.len()).filter(|_| ["", "s"].contains(&after.get(word.len()..).unwrap_or("x")));
        let Some(end) = after.find(':').or(blank).or(quote).or(over).map(|end| at + end) else { continue };
        let key = lower.get(at + word.len()..end).unwrap_or_default();
        if !key.chars().all(|c| c.is_ascii_alphanumeric() || "_-'\" ".contains(c)) {
            continue;
        }
        let end = end.min(line.len().saturating_sub(1));
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

/// `text` with `word` starred out, where it is quoted and no part of a longer one: sentences of ours may have the same words,
/// and what comes from the file stands in quotes.
fn star_word(text: &str, word: &str) -> String {
    let letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let quoted = |before: &str| before.contains(['`', '"']) || before.contains(" '");
    let (first, last) = (word.chars().next(), word.chars().next_back());
    let mut starred = String::with_capacity(text.len());
    let mut from = 0;
    for (at, _) in text.match_indices(word).filter(|_| !word.is_empty()) {
        let (before, after) = (text.get(..at).unwrap_or_default(), text.get(at + word.len()..).unwrap_or_default());
        let part =
            (letter(before.chars().next_back()) && letter(first)) || (letter(after.chars().next()) && letter(last));
        if !part && quoted(before) {
            starred.push_str(text.get(from..at).unwrap_or_default());
            starred.extend(std::iter::repeat_n('*', word.chars().count()));
            from = at + word.len();
        }
    }
    starred + text.get(from..).unwrap_or_default()
}
