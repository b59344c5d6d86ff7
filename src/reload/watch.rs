//! When to read the file again: something was written where it lies, or SIGHUP came.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};

use super::{Because, Reloader};
use crate::config::Dependencies;

/// An editor writes, renames and sets modes in a burst; the file is read when it is over.
const SETTLE: Duration = Duration::from_millis(50);

/// Where no events come (a network file system, no watches left), the files are looked at this often.
const LOOK: Duration = Duration::from_secs(5);

/// Follows the files until `shutdown` turns true. Folders are watched, not files: editors replace a file by another of its
/// name, and orchestrators swap a link beside it.
pub async fn follow(
    reloader: Arc<Reloader>,
    mut hangup: tokio::signal::unix::Signal,
    mut shutdown: watch::Receiver<bool>,
) {
    let (changed, mut changes) = mpsc::channel(1);
    let mut folders = Folders::watch(changed);
    loop {
        folders.set(&reloader.sources());
        let because = tokio::select! {
            () = over(&mut shutdown) => return,
            _ = hangup.recv() => Because::Signal,
            // Without a watcher nobody sends: that is no change.
            Some(()) = changes.recv() => {
                tokio::time::sleep(SETTLE).await;
                // What was written until now is read below; only later writes need another look.
                let _ = changes.try_recv();
                Because::FileChanged
            }
            () = tokio::time::sleep(LOOK) => Because::FileChanged,
        };
        let reloader = Arc::clone(&reloader);
        // Reads files and compiles regexes: not for a thread that also answers.
        if let Err(error) = tokio::task::spawn_blocking(move || drop(reloader.reload(because))).await {
            log::error!("a reload ended early: {error}");
        }
    }
}

async fn over(shutdown: &mut watch::Receiver<bool>) {
    // Nobody left to say so means the same.
    drop(shutdown.wait_for(|over| *over).await);
}

/// The folders under watch.
struct Folders {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
}

// === impl Folders ===

impl Folders {
    fn watch(changed: mpsc::Sender<()>) -> Self {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let read = event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_)));
            if !read {
                // A full channel already says that something changed.
                let _ = changed.try_send(());
            }
        });
        if let Err(error) = &watcher {
            log::warn!("files can't be watched ({error}); they are looked at every {LOOK:?}");
        }
        Self { watcher: watcher.ok(), watched: BTreeSet::new() }
    }

    /// Watches the folders of these files and patterns, and no others.
    fn set(&mut self, sources: &Dependencies) {
        let Some(watcher) = &mut self.watcher else { return };
        let wanted: BTreeSet<PathBuf> = sources.paths().filter_map(folder).collect();
        for gone in self.watched.difference(&wanted) {
            // A folder that was removed is unwatched already.
            let _ = watcher.unwatch(gone);
        }

        let mut watched = BTreeSet::new();
        for path in wanted {
            if self.watched.contains(&path) || watcher.watch(&path, RecursiveMode::NonRecursive).is_ok() {
                watched.insert(path);
            }
        }
        self.watched = watched;
    }
}

fn folder(source: &Path) -> Option<PathBuf> {
    let parent = source.parent()?;
    Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
}
