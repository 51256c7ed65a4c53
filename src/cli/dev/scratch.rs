//! The throwaway directory. It goes with its owner: removed at the end, by a watcher when the owner is killed, or by the next start
//! when the watcher was killed as well.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::fs::{FlockOperation, flock};

const PREFIX: &str = "redhold-dev-";
const LOCK: &str = "owner.lock";

/// Waits until its standard input ends, which it does when the owner is gone, in whatever way. Servers that live in the directory are
/// killed, told by their working directory, because a process id alone may belong to someone else by then.
const WATCHER: &str = r#"
trap '' INT TERM HUP
cd /
read -r _
for round in 1 2 3 4 5; do
    for pidfile in "$1"/*/server.pid; do
        pid=$(cat "$pidfile" 2>/dev/null) || continue
        [ "$(readlink "/proc/$pid/cwd")" = "${pidfile%/server.pid}" ] && kill -9 "$pid"
    done
    rm -rf "$1" && [ ! -e "$1" ] && exit 0
    sleep 0.2
done
"#;

/// A directory that is removed with everything in it, at the latest when this process is gone.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    _lock: File,
    watcher: Child,
}

impl Scratch {
    /// Makes a new directory in `parent` (default: for temporary files), and removes those whose owners are gone.
    ///
    /// # Errors
    /// A sentence, when the directory cannot be made or the watcher cannot be started.
    pub(crate) fn create(parent: Option<&Path>) -> Result<Self, String> {
        let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
        let fault =
            |error: std::io::Error| format!("cannot make a directory in {}: {error}", parent.display());
        fs::create_dir_all(&parent).map_err(fault)?;
        let parent = fs::canonicalize(&parent).map_err(fault)?;
        sweep(&parent);
        let (path, lock) = make(&parent).map_err(fault)?;
        let watcher = Command::new("sh")
            .args(["-c", WATCHER, "redhold-dev-watcher"])
            .arg(&path)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match watcher {
            Ok(watcher) => Ok(Self { path, _lock: lock, watcher }),
            Err(error) => {
                drop(fs::remove_dir_all(&path));
                Err(format!("cannot start sh to watch over {}: {error}", path.display()))
            }
        }
    }

    /// Where it is, without symbolic links.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.path));
        drop(self.watcher.stdin.take());
        drop(self.watcher.wait());
    }
}

/// Makes the directory under a hidden name and gives it its own when it is locked: a sweep never sees one that is not.
fn make(parent: &Path) -> std::io::Result<(PathBuf, File)> {
    let mut number = 0u32;
    loop {
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let (hidden, path) = (parent.join(format!(".{name}")), parent.join(&name));
        number += 1;
        match fs::create_dir(&hidden) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists && number < 1000 => continue,
            other => other?,
        }
        let lock = File::create(hidden.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        if path.exists() {
            fs::remove_dir_all(&hidden)?;
            continue;
        }
        fs::rename(&hidden, &path)?;
        return Ok((path, lock));
    }
}

/// Removes what owners left that were killed together with their watchers.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let path = entry.path();
        let Ok(lock) = File::open(path.join(LOCK)) else { continue };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            drop(fs::remove_dir_all(&path));
        }
    }
}
