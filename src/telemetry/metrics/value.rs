//! The cells that metrics are counted in and the scrape that reads them.
//!
//! Cells are plain atomics owned by a handle (`RouteMetrics`, `EndpointMetrics`, ..); labels exist only while a scrape
//! is written. The `prometheus` crate's own vectors are not used for two reasons: they look a cell up by a hash of the
//! concatenated label values (so `node1`,`0.0.0.1:80` and `node`,`10.0.0.1:80` are one series), and what they hold
//! stays until somebody removes it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus::proto::{self, MetricFamily, MetricType};

/// One metric: its name, help, type and labels. All of them stand in `metrics.rs`.
#[derive(Debug)]
pub struct Family {
    /// The whole name, prefix included.
    pub name: &'static str,
    /// The sentence that `/metrics` shows.
    pub help: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// Label names, in the order in which values are given.
    pub labels: &'static [&'static str],
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in seconds, in these buckets.
    Histogram(&'static [f64]),
}

/// A closed set of label values.
pub trait Label: Copy + 'static {
    /// Every value, in the order of the type's discriminants.
    const ALL: &'static [Self];
    /// The value as it is written in a series.
    fn label(self) -> &'static str;
    /// Where the value stands in `ALL`.
    fn index(self) -> usize;
}

/// Writes an enum whose variants are a metric's label values.
macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $crate::telemetry::metrics::Label for $name {
            const ALL: &'static [Self] = &[$(Self::$variant),+];
            fn label(self) -> &'static str {
                match self { $(Self::$variant => $label),+ }
            }
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}
pub(super) use label;

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

/// A number that goes up and down; see [`Held`].
#[derive(Debug, Default, Clone)]
pub(super) struct Gauge(Arc<AtomicI64>);

/// One unit of a gauge (a request in flight, an open connection), given back when dropped.
#[derive(Debug)]
#[must_use = "the unit is counted only while this is held"]
pub struct Held(Gauge);

/// One counter for each value of a label.
#[derive(Debug)]
pub(super) struct Counters<L> {
    cells: Box<[Counter]>,
    label: std::marker::PhantomData<fn() -> L>,
}

/// Durations, counted in buckets. The sum is kept in whole nanoseconds (an integer add; 64 bits hold 584 years).
#[derive(Debug)]
pub(super) struct Durations {
    bounds: &'static [f64],
    /// One more than `bounds`: the last counts what is over every bound.
    buckets: Box<[Counter]>,
    nanoseconds: Counter,
}

/// Counters of one class of status codes, such as 200 to 299.
#[derive(Debug)]
pub(super) struct CodeClass(Box<[Counter; 100]>);

/// A cell for each class of status codes, made when its first code is seen.
#[derive(Debug)]
pub(super) struct Classes<T>([OnceLock<T>; 9]);

/// Living handles by name. The same name gives the same handle while anybody holds it, so a new generation goes on
/// counting where the old one was; when the last holder drops it, a scrape no longer sees it.
#[derive(Debug)]
pub(super) struct Shelf<T>(Mutex<BTreeMap<Arc<str>, Weak<T>>>);

/// The answer to one scrape, being written.
#[derive(Debug, Default)]
pub(super) struct Scrape(BTreeMap<&'static str, MetricFamily>);

// === impl Counter ===

impl Counter {
    pub(super) fn increment(&self) {
        self.add(1);
    }

    pub(super) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

// === impl Gauge ===

impl Gauge {
    pub(super) fn hold(&self) -> Held {
        self.0.fetch_add(1, Relaxed);
        Held(self.clone())
    }

    pub(super) fn value(&self) -> u64 {
        u64::try_from(self.0.load(Relaxed)).unwrap_or(0)
    }
}

// === impl Held ===

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

// === impl Counters ===

impl<L: Label> Counters<L> {
    pub(super) fn increment(&self, label: L) {
        self.add(label, 1);
    }

    pub(super) fn add(&self, label: L, amount: u64) {
        if let Some(cell) = self.cells.get(label.index()) {
            cell.add(amount);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        L::ALL.iter().zip(&self.cells).map(|(label, cell)| (label.label(), cell.value()))
    }
}

impl<L: Label> Default for Counters<L> {
    fn default() -> Self {
        Self { cells: L::ALL.iter().map(|_| Counter::default()).collect(), label: std::marker::PhantomData }
    }
}

// === impl Durations ===

impl Durations {
    /// A histogram with the buckets of its family; without any if the family is of another kind.
    pub(super) fn of(family: &Family) -> Self {
        let bounds: &[f64] = match family.kind {
            Kind::Histogram(bounds) => bounds,
            Kind::Counter | Kind::Gauge => &[],
        };
        Self {
            bounds,
            buckets: (0..=bounds.len()).map(|_| Counter::default()).collect(),
            nanoseconds: Counter::default(),
        }
    }

    pub(super) fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = self.bounds.partition_point(|bound| *bound < seconds);
        if let Some(cell) = self.buckets.get(bucket) {
            cell.increment();
        }
        self.nanoseconds.add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().map(Counter::value).sum()
    }

    fn sample(&self) -> proto::Histogram {
        let mut counted = 0;
        let mut buckets = Vec::with_capacity(self.bounds.len());
        for (bound, cell) in self.bounds.iter().zip(&self.buckets) {
            counted += cell.value();
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(counted);
            buckets.push(bucket);
        }
        counted += self.buckets.last().map_or(0, Counter::value);
        let mut sample = proto::Histogram::default();
        sample.set_sample_sum(Duration::from_nanos(self.nanoseconds.value()).as_secs_f64());
        sample.set_sample_count(counted);
        sample.set_bucket(buckets);
        sample
    }
}

// === impl CodeClass ===

impl CodeClass {
    pub(super) fn increment(&self, code: u16) {
        if let Some(cell) = self.0.get(usize::from(code % 100)) {
            cell.increment();
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(Counter::value).sum()
    }

    /// The codes that were seen, and how often; `class` is this class's first digit.
    pub(super) fn seen(&self, class: usize) -> impl Iterator<Item = (String, u64)> {
        let codes = self.0.iter().enumerate().map(move |(rest, cell)| (class * 100 + rest, cell.value()));
        codes.filter(|(_, count)| *count > 0).map(|(code, count)| (code.to_string(), count))
    }
}

impl Default for CodeClass {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| Counter::default())))
    }
}

// === impl Classes ===

impl<T> Classes<T> {
    /// The cell for a code; `make` runs once a class. A code below 100 or above 999 is no status and counts as 1xx or 9xx.
    pub(super) fn of(&self, code: u16, make: impl FnOnce() -> T) -> &T {
        let class = usize::from(code.clamp(100, 999) / 100 - 1);
        self.0[class].get_or_init(make)
    }

    /// The cells in use with their first digit.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.0.iter().enumerate().filter_map(|(class, cell)| Some((class + 1, cell.get()?)))
    }
}

impl<T> Default for Classes<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| OnceLock::new()))
    }
}

// === impl Shelf ===

impl<T> Shelf<T> {
    /// The living handle of this name, or a new one.
    pub(super) fn take(&self, name: &str, make: impl FnOnce(Arc<str>) -> T) -> Arc<T> {
        let mut handles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = handles.get(name).and_then(Weak::upgrade) {
            return handle;
        }
        handles.retain(|_, handle| handle.strong_count() > 0);
        let name: Arc<str> = name.into();
        let handle = Arc::new(make(name.clone()));
        handles.insert(name, Arc::downgrade(&handle));
        handle
    }

    /// Every living handle, in the order of their names.
    pub(super) fn living(&self) -> Vec<Arc<T>> {
        let handles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        handles.values().filter_map(Weak::upgrade).collect()
    }
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

// === impl Scrape ===

impl Scrape {
    /// A counter or a gauge; beyond 2^53 the text format's 64-bit float rounds it.
    pub(super) fn count(&mut self, family: &'static Family, labels: &[&str], count: u64) {
        let sample = self.sample(family, labels);
        if family.kind == Kind::Gauge {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(count as f64);
            sample.set_gauge(gauge);
        } else {
            let mut counter = proto::Counter::default();
            counter.set_value(count as f64);
            sample.set_counter(counter);
        }
    }

    pub(super) fn durations(&mut self, family: &'static Family, labels: &[&str], durations: &Durations) {
        self.sample(family, labels).set_histogram(durations.sample());
    }

    pub(super) fn families(self) -> Vec<MetricFamily> {
        self.0.into_values().collect()
    }

    fn sample(&mut self, family: &'static Family, values: &[&str]) -> &mut proto::Metric {
        debug_assert_eq!(family.labels.len(), values.len(), "labels of {}", family.name);
        let entry = self.0.entry(family.name).or_insert_with(|| {
            let mut written = MetricFamily::default();
            written.set_name(family.name.to_owned());
            written.set_help(family.help.to_owned());
            written.set_field_type(match family.kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::Gauge => MetricType::GAUGE,
                Kind::Histogram(_) => MetricType::HISTOGRAM,
            });
            written
        });
        let labels = family.labels.iter().zip(values).map(|(name, value)| {
            let mut label = proto::LabelPair::default();
            label.set_name((*name).to_owned());
            label.set_value((*value).to_owned());
            label
        });
        let samples = entry.mut_metric();
        let place = samples.len();
        samples.push(proto::Metric::from_label(labels.collect()));
        &mut samples[place]
    }
}
