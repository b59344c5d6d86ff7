//! `process.user`: once the listeners are bound, nothing needs the powers that bound them.

use std::path::Path;

use nix::unistd::{Uid, User, chown, initgroups, setgid, setuid};

/// Becomes `name` for good, with its groups. `files`, which were made before, are given to it: the pid file, and the files
/// of sockets, which whoever is in its group may then connect to.
///
/// # Errors
/// A sentence: the user doesn't exist, or we may not become it.
pub(super) fn become_user<'a>(name: &str, files: impl IntoIterator<Item = &'a Path>) -> Result<(), String> {
    let failed = |what: &str, error: nix::Error| format!("process.user: {what}: {error}");
    let user = User::from_name(name).map_err(|error| failed("the users can't be read", error))?;
    let user = user.ok_or_else(|| format!("process.user: there is no user `{name}` on this machine"))?;
    if Uid::effective() == user.uid {
        return Ok(());
    }
    if !Uid::effective().is_root() {
        return Err(format!("process.user: only root can become `{name}`; start headgate as root, or as `{name}`"));
    }
    for path in files {
        chown(path, Some(user.uid), Some(user.gid))
            .map_err(|error| failed(&format!("{} can't be given away", path.display()), error))?;
    }
    let c_name = std::ffi::CString::new(name).map_err(|_| "process.user: a user's name has no NUL".to_owned())?;
    // Groups first: afterwards we are nobody who may.
    initgroups(&c_name, user.gid).map_err(|error| failed("its groups can't be taken", error))?;
    setgid(user.gid).map_err(|error| failed("its group can't be taken", error))?;
    setuid(user.uid).map_err(|error| failed("it can't be taken", error))
}
