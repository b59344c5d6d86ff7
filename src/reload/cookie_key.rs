//! The made cookie key: what our cookies are signed with where `cookies.secrets` is not written.
//!
//! It has to outlive a restart, or every pin is forgotten, so it is kept in a file that only its owner can read; it is
//! obtained where the file was loaded and compiled in. `check` takes a passing one and leaves no trace.

use std::{
    env,
    fs::{DirBuilder, File, Metadata, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::{
    libc::{O_NOFOLLOW, O_NONBLOCK},
    unistd::{Uid, User},
};
use ring::rand::{SecureRandom as _, SystemRandom};

/// As long as the output of the HMAC that it keys.
const LENGTH: usize = 32;

/// The key's file in the state directory.
const FILE: &str = "cookie.key";

/// The keys of one process. Each is obtained once: a reload must not find another one, and after `process.user` it may not be
/// able to read the first one again.
#[derive(Default)]
pub struct CookieKey(Mutex<Made>);

#[derive(Default)]
struct Made {
    kept: Option<KeptKey>,
    passing: Option<[u8; LENGTH]>,
}

/// A key that is to outlive the process.
#[derive(Clone)]
pub struct KeptKey {
    /// The key.
    pub bytes: [u8; LENGTH],
    /// Why it will not outlive it after all, for the log.
    pub warning: Option<String>,
}

/// Why there is no kept key.
#[derive(Debug)]
enum Failure {
    /// It can't be written or read.
    NoPlace(String),
    /// What is there must not be used.
    Unsafe(String),
}

/// The user to become, to whom what is made shall belong.
struct Owner {
    uid: u32,
    gid: u32,
}

// === impl CookieKey ===

impl CookieKey {
    /// The key that is kept in `state_dir`, made if there is none. Without `state_dir` it is kept in `$XDG_STATE_HOME/headgate` or
    /// `~/.local/state/headgate`, and where neither can be written a key is made that a restart forgets, with a warning.
    /// `user` is `process.user`, to whom the file will belong.
    ///
    /// # Errors
    /// A sentence: `state_dir` can't be used, or others can read or change what is kept.
    pub fn kept(&self, state_dir: Option<&Path>, user: Option<&str>) -> Result<KeptKey, String> {
        let mut made = self.made();
        if let Some(kept) = &made.kept {
            return Ok(kept.clone());
        }
        let directory = state_dir.map(Path::to_owned).or_else(|| default_directory(|name| env::var_os(name)));
        let found = match directory {
            Some(directory) => read_or_make(&directory, user),
            None => Err(Failure::NoPlace("neither XDG_STATE_HOME nor HOME is set".to_owned())),
        };
        let kept = match found {
            Ok(bytes) => KeptKey { bytes, warning: None },
            Err(Failure::NoPlace(why)) if state_dir.is_none() => {
                KeptKey { bytes: random()?, warning: Some(forgets(&why)) }
            }
            Err(Failure::NoPlace(why) | Failure::Unsafe(why)) => return Err(why),
        };
        made.kept = Some(kept.clone());
        Ok(kept)
    }

    /// A key that ends with the process and that no file knows of.
    ///
    /// # Errors
    /// A sentence: the system gives no random bytes.
    pub fn passing(&self) -> Result<[u8; LENGTH], String> {
        let mut made = self.made();
        match made.passing {
            Some(bytes) => Ok(bytes),
            None => Ok(*made.passing.insert(random()?)),
        }
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forgets(why: &str) -> String {
    format!(
        "the key that sticky cookies are signed with can't be kept: {why}; a restart will forget every pin: write \
         `process.state_dir`, or your own `cookies.secrets`"
    )
}

/// `$XDG_STATE_HOME/headgate`, or its default under `$HOME`. The convention has relative ones ignored.
fn default_directory(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")))?;
    Some(state.join("headgate"))
}

fn read_or_make(directory: &Path, user: Option<&str>) -> Result<[u8; LENGTH], Failure> {
    let owner = owner(user)?;
    let place = |error: io::Error| Failure::NoPlace(format!("state directory {}: {error}", directory.display()));
    match directory.metadata() {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_directory(directory, owner.as_ref()).map_err(place)?
        }
        Err(error) => return Err(place(error)),
    }
    let found = directory.metadata().map_err(place)?;
    if found.mode() & 0o022 != 0 {
        let shown = directory.display();
        let why = format!(
            "state directory {shown}: others can write to it, and so could put a key of theirs there: chmod go-w {shown}"
        );
        return Err(Failure::Unsafe(why));
    }
    let path = directory.join(FILE);
    if let Some(key) = read(&path, owner.as_ref())? {
        return Ok(key);
    }
    make(&path, owner.as_ref()).map_err(|error| Failure::NoPlace(format!("{}: {error}", path.display())))?;
    // Read back in any case: another process may have been first.
    let lost = || Failure::NoPlace(format!("{}: it was made and is gone", path.display()));
    read(&path, owner.as_ref())?.ok_or_else(lost)
}

/// Whom files are to be given to: nobody unless root will become somebody else.
fn owner(user: Option<&str>) -> Result<Option<Owner>, Failure> {
    let Some(name) = user.filter(|_| Uid::effective().is_root()) else { return Ok(None) };
    match User::from_name(name) {
        Ok(Some(user)) => Ok(Some(Owner { uid: user.uid.as_raw(), gid: user.gid.as_raw() })),
        Ok(None) => Err(Failure::Unsafe(format!("process.user: there is no user `{name}` on this machine"))),
        Err(error) => Err(Failure::Unsafe(format!("process.user: the users can't be read: {error}"))),
    }
}

fn make_directory(directory: &Path, owner: Option<&Owner>) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    give(&File::open(directory)?, owner)
}

/// The key in the file; none without a file.
fn read(path: &Path, owner: Option<&Owner>) -> Result<Option<[u8; LENGTH]>, Failure> {
    let shown = path.display();
    let failed = |error: io::Error| Failure::NoPlace(format!("{shown}: {error}"));
    // As root we may read in the directory of somebody else: a link there must lead nowhere, and a pipe not hold us up.
    let mut file = match OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let found = file.metadata().map_err(failed)?;
    if found.permissions().mode() & 0o077 != 0 {
        let why = "others can read this key, and so make cookies in our name: chmod 600 it, or remove it to have a new one made";
        return Err(Failure::Unsafe(format!("{shown}: {why}")));
    }
    if !ours(&found, owner) {
        return Err(Failure::Unsafe(format!("{shown}: this key belongs to another user (id {})", found.uid())));
    }
    let mut key = [0; LENGTH];
    if found.len() != LENGTH as u64 || !found.is_file() {
        let why = "this is no key of ours: remove it to have a new one made, which forgets every pin made with it";
        return Err(Failure::Unsafe(format!("{shown}: {why}")));
    }
    file.read_exact(&mut key).map_err(failed)?;
    Ok(Some(key))
}

fn ours(found: &Metadata, owner: Option<&Owner>) -> bool {
    found.uid() == Uid::effective().as_raw() || owner.is_some_and(|owner| owner.uid == found.uid())
}

/// Puts a new key there, whole or not at all; does nothing where another process was first.
fn make(path: &Path, owner: Option<&Owner>) -> io::Result<()> {
    let key = random().map_err(io::Error::other)?;
    let draft = path.with_extension(format!("key.{:016x}", fastrand::u64(..)));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = (|| {
        give(&file, owner)?;
        file.write_all(&key)?;
        file.sync_all()?;
        // A rename would replace the key of whoever was first.
        match std::fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    })();
    // Linked or failed, the draft has served.
    let removed = std::fs::remove_file(&draft);
    written.and(removed)
}

fn give(file: &File, owner: Option<&Owner>) -> io::Result<()> {
    owner.map_or(Ok(()), |owner| fchown(file, Some(owner.uid), Some(owner.gid)))
}

fn random() -> Result<[u8; LENGTH], String> {
    let mut key = [0; LENGTH];
    SystemRandom::new().fill(&mut key).map_err(|_| "the system gives no random bytes for a cookie key".to_owned())?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, thread};

    use super::*;

    fn key_in(directory: &Path) -> Result<[u8; LENGTH], String> {
        CookieKey::default().kept(Some(directory), None).map(|kept| kept.bytes)
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn a_key_is_made_once_and_outlives_the_process() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("state/headgate");
        let first = key_in(&directory).unwrap();
        assert_eq!(key_in(&directory).unwrap(), first);
        assert_ne!(key_in(&root.path().join("other")).unwrap(), first);
        assert_eq!((mode(&directory), mode(&directory.join(FILE))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "drafts are left behind");
    }

    #[test]
    fn processes_that_start_at_once_come_to_one_key() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("state");
        let keys: Vec<_> = thread::scope(|scope| {
            let starting: Vec<_> = (0..16).map(|_| scope.spawn(|| key_in(&directory).unwrap())).collect();
            starting.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "drafts are left behind");
    }

    #[test]
    fn one_process_keeps_its_key_whatever_becomes_of_the_file() {
        let root = tempfile::tempdir().unwrap();
        let keys = CookieKey::default();
        let first = keys.kept(Some(root.path()), None).unwrap();
        fs::remove_file(root.path().join(FILE)).unwrap();
        assert_eq!(keys.kept(Some(root.path()), None).unwrap().bytes, first.bytes);
        assert_eq!(keys.passing().unwrap(), keys.passing().unwrap());
        assert_ne!(keys.passing().unwrap(), first.bytes);
    }

    #[test]
    fn what_others_can_read_or_put_there_is_refused_and_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(FILE);
        key_in(root.path()).unwrap();
        for mode in [0o640, 0o604, 0o620] {
            set_mode(&file, mode);
            let refused = key_in(root.path()).unwrap_err();
            assert!(refused.contains("others can read this key") && refused.contains(FILE), "{refused}");
        }
        set_mode(&file, 0o600);
        set_mode(root.path(), 0o770);
        assert!(key_in(root.path()).unwrap_err().contains("others can write to it"));
        set_mode(root.path(), 0o755);
        assert!(key_in(root.path()).is_ok());
    }

    #[test]
    fn what_is_no_key_is_refused_and_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(FILE);
        for text in ["", "short", "0123456789012345678901234567890123"] {
            fs::write(&file, text).unwrap();
            set_mode(&file, 0o600);
            assert!(key_in(root.path()).unwrap_err().contains("no key of ours"));
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        let elsewhere = root.path().join("elsewhere");
        fs::rename(&file, &elsewhere).unwrap();
        symlink(&elsewhere, &file).unwrap();
        assert!(key_in(root.path()).unwrap_err().contains(FILE), "a link was followed");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(key_in(root.path()).is_err());
    }

    #[test]
    fn a_written_directory_that_cannot_be_used_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = key_in(&file.join("headgate")).unwrap_err();
        assert!(refused.contains("state directory") && refused.contains("file/headgate"), "{refused}");
    }

    #[test]
    fn the_default_directory_follows_the_convention() {
        let with = |set: &[(&str, &str)]| {
            default_directory(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).into()))
        };
        let (state, home) = (("XDG_STATE_HOME", "/s"), ("HOME", "/h"));
        assert_eq!(with(&[state, home]), Some("/s/headgate".into()));
        assert_eq!(with(&[("XDG_STATE_HOME", "relative"), home]), Some("/h/.local/state/headgate".into()));
        assert_eq!(with(&[home]), Some("/h/.local/state/headgate".into()));
        assert_eq!(with(&[]), None);
        assert!(forgets("no place").contains("a restart will forget every pin"));
    }
}
