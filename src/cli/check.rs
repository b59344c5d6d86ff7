//! `headgate check`: what `run` does with the file before it serves, and no more.

use std::collections::HashSet;
use std::path::Path;
use std::process::ExitCode;

use super::{CONFIGURATION, complain, print};
use crate::reload;
use crate::telemetry::metrics::{Counted, Metrics, SeriesEstimate};

/// Prints every problem of the file, or what it makes.
pub(super) fn check(file: &Path) -> ExitCode {
    let metrics = Metrics::new();
    match reload::read(file, &headgate_plugins::builtin(), &metrics, None, None) {
        Ok(candidate) => {
            candidate.warnings.iter().for_each(|warning| complain(&format!("{warning}\n")));
            let snapshot = &candidate.compiled.snapshot;
            let (listeners, routes, upstreams) =
                (snapshot.listeners.len(), snapshot.routes.len(), snapshot.upstreams.len());
            let endpoints = snapshot.upstreams.iter().map(|upstream| upstream.endpoints().len()).sum();
            let plugins = snapshot.routes.iter().map(|route| route.plugin_metrics.len()).sum();
            let sticky = snapshot.routes.iter().filter(|route| route.sticky.is_some()).count();
            // Memories of one source each are counted under one name.
            let stores = snapshot.stores.iter().map(|store| store.name()).collect::<HashSet<_>>().len();
            let policies = snapshot.listeners.iter().filter_map(|listener| listener.tls.as_ref());
            let tls = policies.clone().count();
            let certificates = policies.flat_map(|policy| policy.certificate_names()).collect::<HashSet<_>>().len();
            let series = SeriesEstimate::of(Counted {
                listeners,
                tls,
                certificates,
                routes,
                sticky,
                plugins,
                upstreams,
                endpoints,
                sources: snapshot.sessions.len(),
                stores,
            });
            print(&format!(
                "{} is good: {}, {}, {}, {}; {} series of metrics at rest, about {} in use",
                file.display(),
                count(listeners, "listener"),
                count(routes, "route"),
                count(upstreams, "upstream"),
                count(endpoints, "endpoint"),
                series.at_rest,
                series.in_use
            ));
            ExitCode::SUCCESS
        }
        Err(refused) => {
            complain(&refused.to_string());
            ExitCode::from(CONFIGURATION)
        }
    }
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
