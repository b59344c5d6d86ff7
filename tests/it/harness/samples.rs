//! What `/metrics` says, parsed.

use std::collections::BTreeMap;

/// Samples of one scrape.
#[derive(Debug)]
pub(crate) struct Samples(Vec<Sample>);

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Samples {
    pub(crate) fn parse(text: &str) -> Samples {
        Samples(text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(Sample::parse).collect())
    }

    /// The sum of all samples of this name that carry these labels; zero when there is none.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name, labels).map(|sample| sample.value).sum()
    }

    /// True when there is such a sample, whatever its value.
    pub(crate) fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.matching(name, labels).next().is_some()
    }

    fn matching<'a>(&'a self, name: &'a str, labels: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| {
            sample.name == name
                && labels.iter().all(|(key, value)| sample.labels.get(*key).is_some_and(|found| found == value))
        })
    }
}

impl Sample {
    fn parse(line: &str) -> Sample {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("not a sample: {line}"));
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let mut rest = labels.trim_end_matches('}');
        let mut labels = BTreeMap::new();
        while let Some((key, after)) = rest.split_once("=\"") {
            let end = closing_quote(after).unwrap_or_else(|| panic!("not a label: {line}"));
            let value = after[..end].replace("\\\"", "\"").replace("\\\\", "\\");
            labels.insert(key.trim_start_matches(',').to_owned(), value);
            rest = &after[end + 1..];
        }
        let value = value.parse().unwrap_or_else(|_| panic!("not a value: {line}"));
        Sample { name: name.to_owned(), labels, value }
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, letter)| {
        let closes = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        closes.then_some(at)
    })
}

#[test]
fn a_scrape_is_parsed_with_its_labels() {
    let samples = Samples::parse("# HELP a b\na_total{x=\"1\",y=\"q\\\"z, \"} 3\na_total{x=\"2\"} 4\nb 1.5\n");
    assert_eq!(samples.sum("a_total", &[]), 7.0);
    assert_eq!(samples.sum("a_total", &[("y", "q\"z, ")]), 3.0);
    assert_eq!(samples.sum("b", &[]), 1.5);
    assert!(!samples.has("c", &[]));
}
