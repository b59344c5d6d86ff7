//! What `check` says of files whose form is right and whose meaning is not.

use crate::config::tests::hold_fixtures;
use crate::reload;
use crate::telemetry::metrics::Metrics;

#[test]
fn every_fault_of_meaning_is_told_as_it_stands_beside_the_file() {
    hold_fixtures("tests/fixtures/config/meaning", |path| {
        match reload::read(path, &headgate_plugins::builtin(), &Metrics::new(), None, None) {
            Ok(candidate) => candidate.warnings.join("\n\n"),
            Err(refused) => refused.to_string(),
        }
    });
}
