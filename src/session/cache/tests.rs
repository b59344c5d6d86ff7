//! Look-ups driven by hand, and a crowd that would notice an old answer.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::task::Poll;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet, yield_now};
use tokio::time::advance;

use super::*;

const BUDGET: Duration = Duration::from_millis(50);
const POSITIVE: Duration = Duration::from_secs(2);
const NEGATIVE: Duration = Duration::from_millis(500);

/// `None` is a session that isn't there.
type Version = Option<u64>;

impl Value for Version {
    fn bytes(&self) -> usize {
        0
    }

    fn life(&self, lives: Lives) -> Duration {
        if self.is_some() { lives.positive } else { lives.negative }
    }
}

type Answer = Result<Version, StoreError>;

/// A store that answers when the test says so.
#[derive(Default)]
struct Hand {
    asked: Mutex<VecDeque<oneshot::Sender<Answer>>>,
    times: AtomicUsize,
    later: Mutex<Vec<Work>>,
}

impl Load for Hand {
    type Value = Version;

    fn budget(&self) -> Duration {
        BUDGET
    }

    async fn load(&self, _: &str, budget: Duration) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.times.fetch_add(1, SeqCst);
        self.asked.lock().unwrap().push_back(answer);
        timeout(budget, answered).await.map_or(Err(StoreError::Timeout), |answer| answer.unwrap())
    }

    fn later(&self, work: Work) {
        self.later.lock().unwrap().push(work);
    }
}

struct Fixture {
    cache: Arc<Cache<Hand>>,
}

fn keys() -> KeyTemplate {
    KeyTemplate::new("sess:{id}", "{id}").unwrap()
}

fn settings(positive: Duration) -> CacheSettings {
    let lives = Lives { positive, negative: NEGATIVE };
    CacheSettings { keys: keys(), lives, most_bytes: 1 << 20, most_loads: 8 }
}

impl Fixture {
    fn new() -> Self {
        Self::living(POSITIVE)
    }

    fn living(positive: Duration) -> Self {
        Self { cache: Cache::new(settings(positive), Hand::default()) }
    }

    /// A request for `a` that has got as far as it can.
    async fn request(&self) -> JoinHandle<(Answer, Via)> {
        let cache = self.cache.clone();
        let request = tokio::spawn(async move { cache.get("a").await });
        settle().await;
        request
    }

    /// Answers the oldest look-up that is still awaited.
    async fn answer(&self, answer: Answer) {
        loop {
            let asked = self.cache.load.asked.lock().unwrap().pop_front().expect("nobody asks");
            if asked.send(answer).is_ok() {
                break;
            }
        }
        settle().await;
    }

    /// Whether a look-up waits for its answer.
    fn asking(&self) -> usize {
        self.cache.load.asked.lock().unwrap().iter().filter(|asked| !asked.is_closed()).count()
    }

    fn times(&self) -> usize {
        self.cache.load.times.load(SeqCst)
    }

    fn hit(&self) -> Option<Version> {
        self.cache.hit("a", time::Instant::now().into_std())
    }

    /// Has `version` remembered by way of a request.
    async fn remember(&self, version: Version) {
        let request = self.request().await;
        self.answer(Ok(version)).await;
        assert_eq!(request.await.unwrap(), (Ok(version), Via::Store));
    }

    fn push(&self) {
        self.cache.invalidated(b"sess:a");
    }

    /// The work that was put off, begun.
    async fn keeper(&self) -> JoinSet<()> {
        let works = std::mem::take(&mut *self.cache.load.later.lock().unwrap());
        let tasks = works.into_iter().collect();
        settle().await;
        tasks
    }

    fn is_quiet(&self) -> bool {
        self.cache.flights().is_empty() && self.asking() == 0
    }
}

async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_look_ups_of_one_id_are_one() {
    let fixture = Fixture::new();
    let first = fixture.request().await;
    let others = [fixture.request().await, fixture.request().await];
    assert_eq!(fixture.times(), 1);

    fixture.answer(Ok(Some(1))).await;
    assert_eq!(first.await.unwrap(), (Ok(Some(1)), Via::Store));
    for other in others {
        assert_eq!(other.await.unwrap(), (Ok(Some(1)), Via::Joined));
    }
    assert_eq!(fixture.request().await.await.unwrap(), (Ok(Some(1)), Via::Cache));
    assert_eq!((fixture.times(), fixture.is_quiet()), (1, true));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_leaves_hands_over_to_one_of_those_who_wait() {
    let fixture = Fixture::new();
    let leader = fixture.request().await;
    let waiting = [fixture.request().await, fixture.request().await, fixture.request().await];

    leader.abort();
    settle().await;
    assert_eq!((fixture.times(), fixture.asking()), (2, 1), "one asks, not none and not all");

    fixture.answer(Ok(Some(1))).await;
    let mut vias = Vec::new();
    for request in waiting {
        let (answer, via) = request.await.unwrap();
        assert_eq!(answer, Ok(Some(1)));
        vias.push(via);
    }
    vias.sort_by_key(|via| *via == Via::Joined);
    assert_eq!(vias, [Via::Store, Via::Joined, Via::Joined]);
    assert!(fixture.is_quiet());
}

#[tokio::test(start_paused = true)]
async fn when_all_leave_nothing_is_left() {
    let fixture = Fixture::new();
    let requests = [fixture.request().await, fixture.request().await];
    for request in requests {
        request.abort();
    }
    settle().await;
    assert!(fixture.is_quiet());
    fixture.remember(Some(1)).await;
}

#[tokio::test(start_paused = true)]
async fn who_joins_waits_no_longer_than_its_own_budget() {
    let fixture = Fixture::new();
    let leader = fixture.request().await;
    advance(BUDGET / 2).await;
    let joined = fixture.request().await;
    leader.abort();
    settle().await;
    assert_eq!(fixture.asking(), 1);

    let began = time::Instant::now();
    assert_eq!(joined.await.unwrap(), (Err(StoreError::Timeout), Via::Store));
    assert!(began.elapsed() <= BUDGET + Duration::from_millis(1), "{:?}", began.elapsed());
    assert!(fixture.is_quiet());
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_for_all_who_wait_and_for_nobody_after() {
    let fixture = Fixture::new();
    let requests = [fixture.request().await, fixture.request().await];
    fixture.answer(Err(StoreError::Down)).await;
    for request in requests {
        assert_eq!(request.await.unwrap().0, Err(StoreError::Down));
    }
    fixture.remember(Some(1)).await;
    assert_eq!(fixture.times(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_push_for_what_is_not_known_does_nothing() {
    let fixture = Fixture::new();
    fixture.push();
    fixture.cache.invalidated(b"cart:a");
    assert!(fixture.keeper().await.is_empty());
    fixture.remember(Some(1)).await;
    fixture.cache.invalidated(b"cart:a");
    assert_eq!(fixture.hit(), Some(Some(1)), "a key of somebody else");
}

#[tokio::test(start_paused = true)]
async fn a_push_takes_out_what_is_remembered_and_has_it_read_once() {
    let fixture = Fixture::new();
    fixture.remember(Some(1)).await;
    fixture.push();
    assert_eq!(fixture.hit(), None);
    fixture.push();
    let mut keeper = fixture.keeper().await;
    assert_eq!((keeper.len(), fixture.asking()), (1, 1));

    let meanwhile = fixture.request().await;
    assert_eq!(fixture.asking(), 1, "who comes meanwhile joins it");
    fixture.answer(Ok(Some(2))).await;
    keeper.join_next().await.unwrap().unwrap();
    assert_eq!(meanwhile.await.unwrap(), (Ok(Some(2)), Via::Joined));
    assert_eq!((fixture.hit(), fixture.is_quiet()), (Some(Some(2)), true));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_asked_for_since_is_not_read_again() {
    let fixture = Fixture::new();
    fixture.remember(Some(1)).await;
    fixture.push();
    let _keeper = fixture.keeper().await;
    fixture.answer(Ok(Some(2))).await;
    fixture.push();
    assert!(fixture.keeper().await.is_empty());

    fixture.remember(Some(3)).await;
    fixture.push();
    let _keeper = fixture.keeper().await;
    fixture.answer(Ok(Some(4))).await;
    assert_eq!(fixture.hit(), Some(Some(4)));
    fixture.push();
    assert_eq!(fixture.keeper().await.len(), 1, "a hit asks for it");
}

#[tokio::test(start_paused = true)]
async fn a_re_read_leaves_it_to_a_request_that_came_first() {
    let fixture = Fixture::new();
    fixture.remember(Some(1)).await;
    fixture.push();
    let request = fixture.request().await;
    let mut keeper = fixture.keeper().await;
    keeper.join_next().await.unwrap().unwrap();
    assert_eq!(fixture.asking(), 1);
    fixture.answer(Ok(Some(2))).await;
    assert_eq!(request.await.unwrap(), (Ok(Some(2)), Via::Store));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_a_push_overtook_is_for_its_leader_alone() {
    let fixture = Fixture::new();
    let leader = fixture.request().await;
    let before = fixture.request().await;
    fixture.push();
    let after = fixture.request().await;
    assert_eq!(fixture.asking(), 1);

    fixture.answer(Ok(Some(1))).await;
    assert_eq!(leader.await.unwrap(), (Ok(Some(1)), Via::Store));
    assert_eq!((fixture.hit(), fixture.asking()), (None, 1), "it is not remembered, and one of the others asks again");
    assert!(!before.is_finished() && !after.is_finished());

    fixture.answer(Ok(Some(2))).await;
    assert_eq!(before.await.unwrap().0, Ok(Some(2)));
    assert_eq!(after.await.unwrap().0, Ok(Some(2)));
    assert_eq!((fixture.hit(), fixture.times()), (Some(Some(2)), 2));
}

#[tokio::test(start_paused = true)]
async fn who_waited_once_takes_what_was_asked_for_after_it_came() {
    let fixture = Fixture::new();
    let _leader = fixture.request().await;
    let joined = [fixture.request().await, fixture.request().await];
    fixture.push();
    fixture.answer(Ok(Some(1))).await;
    fixture.push();
    fixture.answer(Ok(Some(2))).await;
    for request in joined {
        assert_eq!(request.await.unwrap().0, Ok(Some(2)), "pushes without end hold nobody up");
    }
    assert_eq!(fixture.hit(), None);
}

#[tokio::test(start_paused = true)]
async fn a_re_read_that_a_push_overtakes_is_done_again_a_few_times() {
    let fixture = Fixture::new();
    fixture.remember(Some(1)).await;
    fixture.push();
    let mut keeper = fixture.keeper().await;
    fixture.push();
    fixture.answer(Ok(Some(2))).await;
    assert_eq!((fixture.hit(), fixture.asking()), (None, 1));
    fixture.answer(Ok(Some(3))).await;
    keeper.join_next().await.unwrap().unwrap();
    assert_eq!(fixture.hit(), Some(Some(3)));

    fixture.push();
    let mut keeper = fixture.keeper().await;
    for version in 4..7 {
        fixture.push();
        fixture.answer(Ok(Some(version))).await;
    }
    keeper.join_next().await.unwrap().unwrap();
    assert_eq!((fixture.hit(), fixture.is_quiet()), (None, true));
}

#[tokio::test(start_paused = true)]
async fn a_push_for_another_id_changes_nothing() {
    let fixture = Fixture::new();
    let request = fixture.request().await;
    fixture.cache.invalidated(b"sess:b");
    fixture.answer(Ok(Some(1))).await;
    assert_eq!(request.await.unwrap().0, Ok(Some(1)));
    fixture.cache.invalidated(b"sess:b");
    assert_eq!(fixture.hit(), Some(Some(1)));
}

#[tokio::test(start_paused = true)]
async fn lost_pushes_empty_it_and_what_is_under_way_is_not_remembered() {
    let fixture = Fixture::new();
    fixture.cache.put("b", Some(7));
    let leader = fixture.request().await;
    let joined = fixture.request().await;
    fixture.cache.lost();
    assert_eq!((fixture.cache.len(), fixture.cache.bytes()), (0, 0));
    fixture.answer(Ok(Some(1))).await;
    assert_eq!(leader.await.unwrap().0, Ok(Some(1)));
    assert_eq!((fixture.hit(), fixture.asking()), (None, 1));
    fixture.answer(Ok(Some(2))).await;
    assert_eq!(joined.await.unwrap().0, Ok(Some(2)));
    assert_eq!(fixture.hit(), Some(Some(2)), "what began after it is believed");
    assert!(fixture.keeper().await.is_empty(), "what was lost is read when it is wanted");
}

#[tokio::test(start_paused = true)]
async fn an_answer_holds_for_its_time_from_when_it_was_asked_for() {
    let fixture = Fixture::new();
    let request = fixture.request().await;
    advance(BUDGET / 2).await;
    fixture.answer(Ok(Some(1))).await;
    request.await.unwrap().0.unwrap();
    advance(POSITIVE - BUDGET / 2 - Duration::from_millis(1)).await;
    assert_eq!(fixture.hit(), Some(Some(1)));
    advance(Duration::from_millis(1)).await;
    assert_eq!(fixture.hit(), None);

    fixture.remember(None).await;
    advance(NEGATIVE - Duration::from_millis(1)).await;
    assert_eq!(fixture.hit(), Some(None));
    advance(Duration::from_millis(1)).await;
    assert_eq!(fixture.hit(), None);
}

#[tokio::test(start_paused = true)]
async fn a_cache_of_no_time_remembers_nothing_and_still_joins() {
    let fixture = Fixture::living(Duration::ZERO);
    let requests = [fixture.request().await, fixture.request().await];
    fixture.answer(Ok(Some(1))).await;
    for request in requests {
        assert_eq!(request.await.unwrap().0, Ok(Some(1)));
    }
    assert_eq!((fixture.times(), fixture.hit(), fixture.cache.len()), (1, None, 0));
    fixture.push();
    assert!(fixture.keeper().await.is_empty());
}

/// A cache whose look-ups of as many ids as may be are under way.
async fn crowded() -> (Fixture, JoinSet<(Answer, Via)>) {
    let fixture = Fixture::new();
    let mut crowd = JoinSet::new();
    for number in 0..8 {
        let cache = fixture.cache.clone();
        crowd.spawn(async move { cache.get(&number.to_string()).await });
    }
    settle().await;
    (fixture, crowd)
}

#[tokio::test(start_paused = true)]
async fn only_so_many_ids_are_looked_up_at_once_and_the_next_waits_for_room() {
    let (fixture, _crowd) = crowded().await;
    let requests = [fixture.request().await, fixture.request().await];
    assert_eq!((fixture.times(), fixture.asking()), (8, 8));
    fixture.answer(Ok(None)).await;
    assert_eq!((fixture.times(), fixture.asking()), (9, 8), "one is over, so the next is asked for, and once");
    for _ in 0..8 {
        fixture.answer(Ok(Some(1))).await;
    }
    for request in requests {
        assert_eq!(request.await.unwrap().0, Ok(Some(1)));
    }
}

#[tokio::test(start_paused = true)]
async fn who_gets_no_room_knows_whether_the_store_is_slow_or_the_crowd_large() {
    let (fixture, _crowd) = crowded().await;
    let request = fixture.request().await;
    assert_eq!(request.await.unwrap(), (Err(StoreError::Timeout), Via::Store), "nobody got an answer");

    let (fixture, _crowd) = crowded().await;
    advance(BUDGET / 2).await;
    let request = fixture.request().await;
    assert_eq!(request.await.unwrap(), (Err(StoreError::Timeout), Via::Store), "not in time for a look-up of its own");

    let (fixture, _crowd) = crowded().await;
    let _let_in = fixture.request().await;
    let cache = fixture.cache.clone();
    let request = tokio::spawn(async move { cache.get("b").await });
    settle().await;
    fixture.answer(Ok(None)).await;
    assert_eq!(request.await.unwrap(), (Err(StoreError::Overload), Via::Store), "others did");

    let (fixture, _crowd) = crowded().await;
    let request = fixture.request().await;
    advance(BUDGET / 2 + Duration::from_millis(1)).await;
    fixture.answer(Ok(None)).await;
    assert_eq!(request.await.unwrap(), (Err(StoreError::Overload), Via::Store), "too late to ask");
}

#[tokio::test(start_paused = true)]
async fn what_was_put_or_removed_outlives_an_older_look_up() {
    let fixture = Fixture::new();
    let request = fixture.request().await;
    fixture.cache.put("a", Some(2));
    fixture.answer(Ok(Some(1))).await;
    request.await.unwrap().0.unwrap();
    assert_eq!(fixture.hit(), Some(Some(2)));

    fixture.cache.remove("a");
    assert_eq!(fixture.hit(), None);
    let request = fixture.request().await;
    fixture.cache.remove("a");
    fixture.answer(Ok(Some(3))).await;
    request.await.unwrap().0.unwrap();
    assert_eq!(fixture.hit(), None);
}

#[tokio::test(start_paused = true)]
async fn all_that_is_remembered_can_be_gone_through() {
    let fixture = Fixture::new();
    fixture.cache.put("a", Some(1));
    fixture.cache.put("b", Some(2));
    fixture.cache.put("c", None);
    advance(NEGATIVE).await;
    let mut seen = Vec::new();
    fixture.cache.for_each(time::Instant::now().into_std(), |id, version| seen.push((id.to_owned(), *version)));
    seen.sort();
    assert_eq!(seen, [("a".to_owned(), Some(1)), ("b".to_owned(), Some(2))]);
}

#[test]
fn a_hundred_thousand_sessions_never_weigh_more_than_allowed() {
    let most_bytes = 4 << 20;
    let cache = Cache::new(CacheSettings { most_bytes, ..settings(POSITIVE) }, Hand::default());
    let rounded = cache.kept.num_shards() as u64;
    let mut highest = 0;
    for number in 0..100_000u64 {
        cache.put(&format!("{number:032x}"), Some(number));
        highest = highest.max(cache.bytes());
        assert!(cache.bytes() <= most_bytes + rounded, "{} bytes after {number}", cache.bytes());
    }
    assert!(highest > most_bytes / 2, "it is used: {highest} bytes, {} entries", cache.len());
    assert!(cache.len() > 10_000, "{} entries", cache.len());
}

#[test]
fn what_is_larger_than_its_share_is_not_remembered() {
    let cache = Cache::new(CacheSettings { most_bytes: 1 << 16, ..settings(POSITIVE) }, Hand::default());
    cache.put(&"x".repeat(1 << 17), Some(1));
    assert_eq!((cache.len(), cache.bytes()), (0, 0));
}

/// A store whose versions only grow. Its answers are made somewhere between asking and hearing.
struct Growing {
    versions: [AtomicU64; 4],
    later: Mutex<Vec<Work>>,
}

impl Load for Growing {
    type Value = Version;

    fn budget(&self) -> Duration {
        Duration::from_secs(60)
    }

    async fn load(&self, id: &str, _: Duration) -> Answer {
        dawdle().await;
        let version = self.versions[id.parse::<usize>().unwrap()].load(SeqCst);
        dawdle().await;
        Ok(Some(version))
    }

    fn later(&self, work: Work) {
        self.later.lock().unwrap().push(work);
    }
}

async fn dawdle() {
    for _ in 0..fastrand::u32(..4) {
        yield_now().await;
    }
}

/// Polls it a few times and gives up.
async fn leave_early(request: impl Future<Output = (Answer, Via)>) {
    let mut request = Box::pin(request);
    let mut polls = fastrand::u32(1..4);
    poll_fn(|context| {
        polls -= 1;
        if polls == 0 || request.as_mut().poll(context).is_ready() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_in_a_crowd_sees_what_was_pushed_away_before_it_came() {
    const REQUESTS: usize = 10_000;
    let load = Growing { versions: Default::default(), later: Mutex::default() };
    let cache = Cache::new(settings(Duration::from_millis(20)), load);
    let pushed: Arc<[AtomicU64; 4]> = Arc::default();
    let over = Arc::new(AtomicBool::new(false));

    let mut readers = JoinSet::new();
    for _ in 0..8 {
        let (cache, pushed) = (cache.clone(), pushed.clone());
        readers.spawn(async move {
            let mut hits = 0;
            for _ in 0..REQUESTS {
                let at = fastrand::usize(..4);
                let id = at.to_string();
                let floor = pushed[at].load(SeqCst);
                if let Some(version) = cache.hit(&id, Instant::now()) {
                    assert!(version.unwrap() >= floor, "remembered {version:?}, pushed {floor}");
                    hits += 1;
                } else if fastrand::u32(..8) == 0 {
                    leave_early(cache.get(&id)).await;
                } else {
                    let (version, via) = cache.get(&id).await;
                    assert!(version.unwrap().unwrap() >= floor, "{via:?} {version:?}, pushed {floor}");
                }
                yield_now().await;
            }
            hits
        });
    }
    let mut others = JoinSet::new();
    others.spawn({
        let (cache, pushed, over) = (cache.clone(), pushed.clone(), over.clone());
        async move {
            while !over.load(SeqCst) {
                let at = fastrand::usize(..4);
                let version = cache.load.versions[at].fetch_add(1, SeqCst) + 1;
                if fastrand::u32(..200) == 0 {
                    cache.lost()
                } else {
                    cache.invalidated(format!("sess:{at}").as_bytes())
                }
                pushed[at].store(version, SeqCst);
                for _ in 0..fastrand::u32(..40) {
                    yield_now().await;
                }
            }
        }
    });
    others.spawn({
        let (cache, over) = (cache.clone(), over.clone());
        async move {
            while !over.load(SeqCst) {
                let works = std::mem::take(&mut *cache.load.later.lock().unwrap());
                for work in works {
                    work.await;
                }
                yield_now().await;
            }
        }
    });

    let hits: Vec<usize> = timeout(Duration::from_secs(60), readers.join_all()).await.expect("nobody hangs");
    over.store(true, SeqCst);
    timeout(Duration::from_secs(10), others.join_all()).await.expect("the others end");
    assert!(hits.iter().sum::<usize>() > 0, "it is a cache");
    assert!(cache.flights().is_empty());
}
