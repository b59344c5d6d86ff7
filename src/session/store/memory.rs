//! SESSIONS IN THIS PROCESS: what the application's own answers taught us, and bindings. Gone with the process.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::binding::{Bind, Binding, BindingKey};

/// How many sessions are known at most, and how many bindings; whose end is nearest makes room. With keys of 40 letters
/// an entry takes about 250 bytes: 65 MB when full.
const MOST: usize = 1 << 18;

/// No browser keeps a cookie longer, and a time that an application makes up overflows no clock.
const LONGEST: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// What is known, and until when. It is asked without waiting, so nobody needs to remember its answers.
#[derive(Debug)]
pub(super) struct Memory {
    sessions: Entries,
    bindings: Entries,
}

#[derive(Debug)]
struct Entries {
    most: usize,
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_key: HashMap<Arc<str>, Entry>,
    /// The same keys by their end, the first to go first.
    by_end: BTreeMap<End, Arc<str>>,
    turn: u64,
}

#[derive(Debug)]
struct Entry {
    value: Bytes,
    end: End,
}

/// When an entry is over; the turn tells those of one instant apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    at: Instant,
    turn: u64,
}

// === impl Memory ===

impl Memory {
    pub(super) fn get(&self, key: &str) -> Option<Bytes> {
        self.sessions.get(key).map(|binding| binding.value)
    }

    pub(super) fn learn(&self, key: &str, ttl: Duration) {
        self.sessions.write().put(key, Bytes::new(), ttl, self.sessions.most);
    }

    pub(super) fn forget(&self, key: &str) {
        self.sessions.write().remove(key);
    }

    pub(super) fn binding(&self, key: &BindingKey) -> Option<Binding> {
        self.bindings.get(key.as_str())
    }

    pub(super) fn bind(&self, key: &BindingKey, value: &str, ttl: Duration, bind: Bind) -> Option<Bytes> {
        // Looked up and put in under one lock: of two that bind at once, one is first.
        let mut table = self.bindings.write();
        let first = table.get(key.as_str()).filter(|_| bind == Bind::IfAbsent);
        if let Some(first) = first {
            return Some(first.value);
        }
        table.put(key.as_str(), Bytes::copy_from_slice(value.as_bytes()), ttl, self.bindings.most);
        None
    }

    pub(super) fn extend(&self, key: &BindingKey, ttl: Duration) {
        let mut table = self.bindings.write();
        if let Some(binding) = table.get(key.as_str()) {
            table.put(key.as_str(), binding.value, ttl, self.bindings.most);
        }
    }

    pub(super) fn remove(&self, key: &BindingKey) {
        self.bindings.write().remove(key.as_str());
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self { sessions: Entries::new(MOST), bindings: Entries::new(MOST) }
    }
}

// === impl Entries ===

impl Entries {
    fn new(most: usize) -> Self {
        Self { most, table: RwLock::default() }
    }

    fn get(&self, key: &str) -> Option<Binding> {
        self.read().get(key)
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Table ===

impl Table {
    fn get(&self, key: &str) -> Option<Binding> {
        let entry = self.by_key.get(key)?;
        let left = entry.end.at.saturating_duration_since(Instant::now());
        (!left.is_zero()).then(|| Binding { value: entry.value.clone(), left })
    }

    fn put(&mut self, key: &str, value: Bytes, ttl: Duration, most: usize) {
        let now = Instant::now();
        self.remove(key);
        while let Some(first) = self.by_end.first_entry()
            && (first.key().at <= now || self.by_key.len() >= most)
        {
            self.by_key.remove(&first.remove());
        }
        self.turn += 1;
        let end = End { at: now + ttl.min(LONGEST), turn: self.turn };
        let key: Arc<str> = key.into();
        self.by_end.insert(end, key.clone());
        self.by_key.insert(key, Entry { value, end });
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.by_key.remove(key) {
            self.by_end.remove(&entry.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn small() -> Memory {
        Memory { sessions: Entries::new(3), bindings: Entries::new(3) }
    }

    fn key(id: &str) -> BindingKey {
        BindingKey::new("node", id)
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_lives_for_its_time() {
        let memory = Memory::default();
        assert_eq!(memory.get("a"), None);
        memory.learn("a", HOUR);
        advance(HOUR - Duration::from_millis(1)).await;
        assert_eq!(memory.get("a"), Some(Bytes::new()));
        memory.learn("a", HOUR);
        advance(HOUR - Duration::from_millis(1)).await;
        assert!(memory.get("a").is_some(), "learnt again, it lives on");
        advance(Duration::from_millis(1)).await;
        assert_eq!(memory.get("a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_is_dead_when_it_is_forgotten() {
        let memory = Memory::default();
        memory.learn("a", HOUR);
        memory.forget("a");
        memory.forget("b");
        assert_eq!(memory.get("a"), None);
        assert!(memory.sessions.read().by_end.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_is_bounded_and_whose_end_is_nearest_makes_room() {
        let memory = small();
        memory.learn("short", HOUR);
        memory.learn("long", 3 * HOUR);
        memory.learn("middle", 2 * HOUR);
        memory.learn("long", 3 * HOUR);
        assert!(memory.get("short").is_some(), "who is known already takes no room");
        memory.learn("new", HOUR);
        assert_eq!(["short", "middle", "long", "new"].map(|key| memory.get(key).is_some()), [false, true, true, true]);
        for number in 0..1000 {
            memory.learn(&number.to_string(), HOUR);
        }
        let table = memory.sessions.read();
        assert_eq!((table.by_key.len(), table.by_end.len()), (3, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_over_makes_room_first() {
        let memory = small();
        memory.learn("a", HOUR);
        memory.learn("b", HOUR);
        memory.learn("c", 3 * HOUR);
        advance(2 * HOUR).await;
        memory.learn("d", HOUR / 2);
        assert!(memory.get("c").is_some() && memory.get("d").is_some());
        assert_eq!(memory.sessions.read().by_key.len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_without_end_overflows_no_clock() {
        let memory = Memory::default();
        memory.learn("a", Duration::MAX);
        memory.learn("b", Duration::ZERO);
        assert!(memory.get("a").is_some());
        assert_eq!(memory.get("b"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_binds_first_stays_unless_replaced() {
        let memory = Memory::default();
        assert_eq!(memory.bind(&key("a"), "one", HOUR, Bind::IfAbsent), None);
        assert_eq!(memory.bind(&key("a"), "two", HOUR, Bind::IfAbsent), Some("one".into()));
        assert_eq!(memory.binding(&key("a")).unwrap().value, "one");
        assert_eq!(memory.bind(&key("a"), "two", HOUR, Bind::Always), None);
        assert_eq!(memory.binding(&key("a")).unwrap().value, "two");
        advance(HOUR).await;
        assert_eq!(memory.bind(&key("a"), "three", HOUR, Bind::IfAbsent), None, "what is over is not there");
    }

    #[tokio::test(start_paused = true)]
    async fn a_binding_says_what_is_left_and_can_be_extended_and_removed() {
        let memory = Memory::default();
        memory.extend(&key("a"), HOUR);
        assert_eq!(memory.binding(&key("a")), None);
        memory.bind(&key("a"), "one", HOUR, Bind::IfAbsent);
        advance(HOUR / 2).await;
        assert_eq!(memory.binding(&key("a")), Some(Binding { value: "one".into(), left: HOUR / 2 }));
        memory.extend(&key("a"), HOUR);
        assert_eq!(memory.binding(&key("a")), Some(Binding { value: "one".into(), left: HOUR }));
        memory.remove(&key("a"));
        assert_eq!(memory.binding(&key("a")), None);
        assert_eq!(memory.get(key("a").as_str()), None, "bindings are no sessions");
    }
}
