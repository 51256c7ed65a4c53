//! `limits.memory`: a size, or a share of what the cgroup or the machine has.

use std::fs;
use std::path::{Path, PathBuf};

use super::units;

/// The bytes that `text` stands for here; no bound when it is nothing.
///
/// # Errors
/// A sentence that names the text and what was expected.
pub(super) fn limit(text: &str) -> Result<u64, String> {
    let Some(share) = text.strip_suffix('%') else {
        let bytes = units::size(text).map_err(|fault| format!("{fault}, nor a share like \"50%\""))?;
        return Ok(unbounded_if_nothing(bytes));
    };
    let share: u64 = share.parse().ok().filter(|share| *share <= 100).ok_or_else(|| {
        format!("`{text}` is not a share from \"0%\" to \"100%\", nor a size like \"512MiB\"")
    })?;
    // Divided first: the product of what a machine may say can be too large.
    Ok(unbounded_if_nothing(available(Path::new("/")) / 100 * share))
}

fn unbounded_if_nothing(bytes: u64) -> u64 {
    if bytes == 0 { u64::MAX } else { bytes }
}

/// What the process may use of the machine's memory: the least that the machine and the cgroups around the process allow. Files of
/// proc(5) and of the kernel's cgroup-v2 and memory.txt, below `root`.
fn available(root: &Path) -> u64 {
    let text = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
    let meminfo = text(root.join("proc/meminfo"));
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    let total = total.and_then(|kib| kib.trim().parse::<u64>().ok()).map_or(u64::MAX, |kib| kib << 10);
    let cgroups = text(root.join("proc/self/cgroup"));
    let mut least = total;
    for line in cgroups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (base, file) = if controllers.is_empty() {
            (root.join("sys/fs/cgroup"), "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            (root.join("sys/fs/cgroup/memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        // The outer ones hold as well; in a container the path is one of the host's, and its own group is at the base.
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            least = text(base.join(group).join(file)).trim().parse().unwrap_or(u64::MAX).min(least);
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file system with these files.
    fn root(name: &str, files: &[(&str, &str)]) -> PathBuf {
        let root = std::env::temp_dir().join(format!("redhold-memory-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        1000 kB\nMemFree:          10 kB\n");

    #[track_caller]
    fn assert_available(name: &str, files: &[(&str, &str)], bytes: u64) {
        let root = root(name, files);
        let found = available(&root);
        fs::remove_dir_all(root).unwrap();
        assert_eq!(found, bytes);
    }

    #[test]
    fn the_machine_and_every_group_around_the_process_hold() {
        assert_available("machine", &[MEMINFO], 1000 << 10);
        let own = ("proc/self/cgroup", "0::/system.slice/redhold.service\n");
        let unbounded = ("sys/fs/cgroup/system.slice/redhold.service/memory.max", "max\n");
        assert_available("unbounded", &[MEMINFO, own, unbounded], 1000 << 10);
        let slice = ("sys/fs/cgroup/system.slice/memory.max", "4096\n");
        assert_available("outer", &[MEMINFO, own, unbounded, slice], 4096);
        let inner = ("sys/fs/cgroup/system.slice/redhold.service/memory.max", "1024\n");
        assert_available("inner", &[MEMINFO, own, slice, inner], 1024);
    }

    #[test]
    fn in_a_container_and_with_the_first_version_too() {
        let host = ("proc/self/cgroup", "0::/docker/abc\n");
        assert_available("container", &[MEMINFO, host, ("sys/fs/cgroup/memory.max", "2048")], 2048);
        let v1 = ("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a\n");
        assert_available(
            "v1",
            &[MEMINFO, v1, ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "512\n")],
            512,
        );
    }

    #[test]
    fn a_share_or_a_size_and_nothing_for_no_bound() {
        let all = available(Path::new("/"));
        assert!(all > 1 << 20 && all < u64::MAX, "this machine tells: {all}");
        assert_eq!(limit("50%"), Ok(all / 100 * 50));
        assert_eq!(limit("64MiB"), Ok(64 << 20));
        assert_eq!((limit("0%"), limit("0B")), (Ok(u64::MAX), Ok(u64::MAX)));
        for wrong in ["101%", "-1%", "half", "", "%", "50 %", "0.5%"] {
            let fault = limit(wrong).unwrap_err();
            assert!(fault.contains(&format!("`{wrong}`")) && fault.contains('%'), "{fault}");
        }
    }
}
