//! Files of what only an old primary had, in `failover.state_dir`: for their owner alone, bounded in number and size,
//! and never removed by the proxy, since each may be the only copy.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::failover::Divergence;

/// Name of the folder in `failover.state_dir`.
const FOLDER: &str = "quarantine";

/// End of the name of a file that is not whole yet.
const DRAFT: &str = "part";

/// Where files are kept, and how many.
#[derive(Clone, Debug)]
pub(super) struct Quarantine {
    /// `None`: nothing is kept.
    dir: Option<PathBuf>,
    files_max: usize,
    bytes_max: u64,
}

/// A place for what will be written.
#[derive(Debug)]
pub(super) enum Place {
    /// The same part of the same history is kept already.
    Taken(PathBuf),
    /// It is new.
    New(Draft),
}

/// A file that is not whole yet; gone when dropped before it is.
#[derive(Debug)]
pub(super) struct Draft {
    file: File,
    draft: PathBuf,
    whole: PathBuf,
}

impl Quarantine {
    /// In this `failover.state_dir`, at most so many files and bytes in total.
    pub(super) fn new(state_dir: Option<&Path>, files_max: usize, bytes_max: u64) -> Self {
        Self { dir: state_dir.map(|dir| dir.join(FOLDER)), files_max, bytes_max }
    }

    /// The longest part of a history that may fit.
    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Makes a file for the whole of `part` of the history of `node`. Blocks.
    ///
    /// # Errors
    /// Why there is no place for it, for people.
    pub(super) fn place(&self, node: &str, part: &Divergence) -> Result<Place, String> {
        let Some(dir) = &self.dir else {
            return Err("failover.state_dir is empty".to_owned());
        };
        let whole = dir.join(format!("{}.resp", name(node, part)));
        if whole.exists() {
            return Ok(Place::Taken(whole));
        }
        let fault = |error: io::Error| format!("{}: {error}", dir.display());
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(fault)?;
        let draft = whole.with_extension(DRAFT);
        // Left by an earlier life in the middle of its work; what it was to hold is about to be read again.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault(error)),
            Ok(()) | Err(_) => {}
        }
        let (files, bytes) = contents(dir).map_err(fault)?;
        if files >= self.files_max {
            return Err(format!("{} files are in {}: failover.quarantine_files", files, dir.display()));
        }
        if bytes.saturating_add(part.bytes()) > self.bytes_max {
            return Err(format!("{} bytes are in {}: failover.quarantine_size", bytes, dir.display()));
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(fault)?;
        Ok(Place::New(Draft { file, draft, whole }))
    }
}

impl Draft {
    /// Adds to it. Blocks.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Makes it whole: after this returned it survives a power loss. Blocks.
    pub(super) fn keep(self) -> io::Result<PathBuf> {
        self.file.sync_all()?;
        fs::rename(&self.draft, &self.whole)?;
        if let Some(dir) = self.whole.parent() {
            File::open(dir)?.sync_all()?;
            dir.parent().map_or(Ok(()), |above| File::open(above)?.sync_all())?;
        }
        Ok(self.whole.clone())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After `keep` nothing has this name any more.
        let _ = fs::remove_file(&self.draft);
    }
}

/// One name for one part of one history, whatever the node's address is made of.
fn name(node: &str, part: &Divergence) -> String {
    let safe = |text: &str| {
        text.chars()
            .map(|one| if one.is_ascii_alphanumeric() || one == '.' || one == '-' { one } else { '_' })
            .collect::<String>()
    };
    let history: String = part.replid.chars().take(8).collect();
    format!("{}-{}-{}-{}-{}", part.epoch, safe(node), safe(&history), part.from, part.to)
}

/// How many files there are, and their bytes.
fn contents(dir: &Path) -> io::Result<(usize, u64)> {
    let mut found = (0, 0);
    for entry in fs::read_dir(dir)? {
        found.0 += 1;
        found.1 += entry?.metadata()?.len();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::testing::Scratch;
    use super::*;

    fn part(epoch: u64, bytes: u64) -> Divergence {
        Divergence { epoch, replid: "0123456789abcdef".to_owned(), from: 101, to: 100 + bytes }
    }

    fn draft(quarantine: &Quarantine, part: &Divergence) -> Draft {
        match quarantine.place("[::1]:6379/../x", part).unwrap() {
            Place::New(draft) => draft,
            Place::Taken(path) => panic!("{} is there", path.display()),
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_file_is_whole_private_and_made_once() {
        let scratch = Scratch::new();
        let quarantine = Quarantine::new(Some(&scratch.0), 4, 1000);
        let mut first = draft(&quarantine, &part(2, 5));
        first.write(b"ab").unwrap();
        first.write(b"cde").unwrap();
        let path = first.keep().unwrap();
        assert_eq!(path, scratch.0.join("quarantine/2-___1__6379_.._x-01234567-101-105.resp"));
        assert_eq!(fs::read(&path).unwrap(), b"abcde");
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert!(
            matches!(quarantine.place("[::1]:6379/../x", &part(2, 5)), Ok(Place::Taken(there)) if there == path)
        );
    }

    #[test]
    fn what_did_not_become_whole_is_gone_and_what_an_earlier_life_left_is_written_again() {
        let scratch = Scratch::new();
        let quarantine = Quarantine::new(Some(&scratch.0), 1, 1000);
        let mut begun = draft(&quarantine, &part(2, 5));
        begun.write(b"ab").unwrap();
        let left = begun.draft.clone();
        drop(begun);
        assert_eq!(fs::read_dir(scratch.0.join(FOLDER)).unwrap().count(), 0);
        fs::write(&left, "torn").unwrap();
        let path = draft(&quarantine, &part(2, 5)).keep().unwrap();
        assert_eq!(fs::read(path).unwrap(), b"");
    }

    #[test]
    fn beyond_either_bound_nothing_is_begun_and_nothing_removed() {
        let scratch = Scratch::new();
        let quarantine = Quarantine::new(Some(&scratch.0), 2, 10);
        let keep = |epoch, bytes: &[u8]| {
            let mut made = draft(&quarantine, &part(epoch, bytes.len() as u64));
            made.write(bytes).unwrap();
            made.keep().unwrap()
        };
        let first = keep(1, b"1234567");
        let refused = quarantine.place("n", &part(2, 4)).unwrap_err();
        assert!(refused.ends_with("quarantine: failover.quarantine_size"), "{refused}");
        let second = keep(2, b"890");
        let refused = quarantine.place("n", &part(3, 0)).unwrap_err();
        assert!(refused.ends_with("quarantine: failover.quarantine_files"), "{refused}");
        assert!(first.exists() && second.exists());
        assert_eq!(fs::read_dir(scratch.0.join(FOLDER)).unwrap().count(), 2);
    }

    #[test]
    fn without_a_directory_nothing_is_kept() {
        let refused = Quarantine::new(None, 16, 1000).place("n", &part(1, 1)).unwrap_err();
        assert_eq!(refused, "failover.state_dir is empty");
    }
}
