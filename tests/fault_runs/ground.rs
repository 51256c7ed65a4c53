//! What the nodes stand on, as faults need it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::net;
use crate::support::{ServerOptions, scratch_folder};

/// Bytes that a small disk has, and what is left of them just before it is full.
const SMALL: u64 = 64 << 20;
const LAST: u64 = 2 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ground {
    Loopback,
    /// A network namespace each, for the proxy too.
    Namespaces,
    /// On loopback, and nodes that start again lead, each for itself.
    Plain,
    /// With an append-only file.
    AppendOnly,
    /// The same, on a file system of 64 MiB each.
    SmallDisks,
    /// With an append-only file that is synchronised after each write, and a disk that can be slowed down.
    SlowDisks,
    /// With the brake on failovers as it is by default.
    Braked,
}

impl Ground {
    /// Why there is no such ground here.
    pub fn why_not(self) -> Option<String> {
        match self {
            Self::Namespaces | Self::SmallDisks => net::why_not(),
            Self::SlowDisks => {
                let compiler = Command::new("cc").arg("--version").output();
                (!compiler.is_ok_and(|output| output.status.success())).then(|| "there is no cc".to_owned())
            }
            Self::Loopback | Self::Plain | Self::AppendOnly | Self::Braked => None,
        }
    }

    /// Whether a second run would find it changed.
    pub fn is_used_up(self) -> bool {
        self == Self::Braked
    }
}

/// The disks of a group's nodes.
#[derive(Debug)]
pub struct Disks {
    folder: PathBuf,
    mounts: Vec<PathBuf>,
    slow: bool,
}

impl Disks {
    pub fn new(ground: Ground, nodes: usize) -> Option<Self> {
        let folder = match ground {
            Ground::SmallDisks | Ground::SlowDisks => scratch_folder("disks"),
            _ => return None,
        };
        let mut disks = Self { folder, mounts: Vec::new(), slow: ground == Ground::SlowDisks };
        if disks.slow {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fault_runs/slow_fsync.c");
            run(Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(disks.library()).arg(source));
        } else {
            for node in 0..nodes {
                let place = disks.folder.join(node.to_string());
                fs::create_dir_all(&place).expect("the temporary folder is writable");
                run(Command::new("mount")
                    .args(["-t", "tmpfs", "-o", &format!("size={SMALL}"), "none"])
                    .arg(&place));
                disks.mounts.push(place);
            }
        }
        Some(disks)
    }

    /// A node on its disk.
    pub fn carry(&self, node: usize, options: ServerOptions) -> ServerOptions {
        if self.slow {
            let (library, delay) = (self.library(), self.delay(node));
            return options
                .set("appendonly", "yes")
                .set("appendfsync", "always")
                .env("LD_PRELOAD", &library.to_string_lossy())
                .env("REDHOLD_FSYNC_DELAY", &delay.to_string_lossy());
        }
        options
            .set("dir", &self.mounts[node].to_string_lossy())
            .set("appendonly", "yes")
            .set("auto-aof-rewrite-min-size", "4mb")
    }

    /// Each fsync of this node takes so much longer from now on.
    pub fn slow_down(&self, node: usize, by: Duration) {
        fs::write(self.delay(node), by.as_millis().to_string()).expect("the temporary folder is writable");
    }

    /// Leaves little of a disk, so that the rest is quickly filled.
    pub fn nearly_fill(&self, node: usize) {
        let left = rustix::fs::statvfs(&self.mounts[node])
            .map(|fs| fs.f_bavail * fs.f_frsize)
            .expect("it is mounted");
        let mut file = File::create(self.filler(node)).expect("there is space");
        let chunk = vec![0; 64 << 10];
        for _ in 0..left.saturating_sub(LAST) / chunk.len() as u64 {
            file.write_all(&chunk).expect("there is space");
        }
    }

    pub fn fill(&self, node: usize) {
        let mut file = File::options().append(true).open(self.filler(node)).expect("it was nearly filled");
        for chunk in [vec![0; 64 << 10], vec![0; 512]] {
            while file.write_all(&chunk).is_ok() {}
        }
    }

    pub fn free(&self, node: usize) {
        fs::remove_file(self.filler(node)).expect("it was filled");
    }

    fn filler(&self, node: usize) -> PathBuf {
        self.mounts[node].join("filler")
    }

    fn library(&self) -> PathBuf {
        self.folder.join("slow_fsync.so")
    }

    fn delay(&self, node: usize) -> PathBuf {
        self.folder.join(format!("delay-{node}"))
    }
}

impl Drop for Disks {
    fn drop(&mut self) {
        for mount in &self.mounts {
            drop(Command::new("umount").arg("--lazy").arg(mount).status());
        }
        fs::remove_dir_all(&self.folder).ok();
    }
}

#[track_caller]
fn run(command: &mut Command) {
    let done = command.status();
    assert!(done.as_ref().is_ok_and(|status| status.success()), "{command:?}: {done:?}");
}
