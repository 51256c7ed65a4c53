//! Executes the steps of a Dockerfile in directories made by debootstrap. Needs root; no container engine.
//!
//! `debian:bookworm-slim` is a minimal Debian 12. `rust:1-bookworm` is the same with gcc, with this machine's own Rust toolchain and its
//! fetched crates bound into it, and with what this checkout has compiled of those. Mounts live in a mount namespace of their own and
//! end with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::dockerfile::Instruction;
use crate::image::{Stage, Step};

const TOOLCHAIN: &str = "usr/local/rust";

/// A stage whose steps were executed.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) stage: Stage,
    pub(crate) root: PathBuf,
}

/// Executes every stage; each panics with the output of the step that failed.
pub(crate) fn build(stages: &[Stage], repository: &Path, work: &Path) -> Vec<Built> {
    let mut built: Vec<Built> = Vec::new();
    for (number, stage) in stages.iter().enumerate() {
        let root = work.join(format!("stage-{number}"));
        let rust = stage.image.starts_with("rust:");
        assert!(
            rust || stage.image.starts_with("debian:bookworm"),
            "{}: no stand-in for this image",
            stage.image
        );
        copy(&base(work, rust), &root);
        for step in &stage.steps {
            println!("-- {}: {:?}", stage.image, step.instruction);
            execute(step, &root, rust, repository, work, &built);
        }
        built.push(Built { stage: stage.clone(), root });
    }
    built
}

fn execute(step: &Step, root: &Path, rust: bool, repository: &Path, work: &Path, built: &[Built]) {
    let inside = |path: &str| {
        root.join(Path::new(&step.workdir).join(path).strip_prefix("/").expect("WORKDIR is absolute"))
    };
    match &step.instruction {
        Instruction::Workdir(path) => fs::create_dir_all(inside(path)).expect("a directory can be made"),
        Instruction::Run(line) => run(line, step, root, rust, work),
        Instruction::Copy { from, sources, target } => {
            let context = match from {
                Some(name) => {
                    &built.iter().find(|built| built.stage.name.as_ref() == Some(name)).expect("checked").root
                }
                None => repository,
            };
            for source in sources {
                let source = context.join(source.trim_start_matches('/'));
                let into_folder = target.ends_with('/') || sources.len() > 1;
                let mut to = inside(target);
                if into_folder {
                    to = to.join(source.file_name().expect("a source has a name"));
                }
                fs::create_dir_all(to.parent().expect("a target has a parent"))
                    .expect("a directory can be made");
                copy(&source, &to);
            }
        }
        other => panic!("{other:?} is no step"),
    }
}

/// `RUN`: a shell in the stage, as root, with the stage's environment alone.
fn run(line: &str, step: &Step, root: &Path, rust: bool, work: &Path) {
    let mut script = format!("mount -t proc proc '{0}/proc'\nmount --rbind /dev '{0}/dev'\n", root.display());
    let mut env =
        vec![("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned())];
    if rust {
        let target = work.join("target");
        let seed = [Path::new("target/release"), &target.join("release")];
        expect_success(Command::new("tests/tools/seed.sh").args(seed), "seed.sh");
        let bound = inside_out(root, &step.workdir).join("target");
        for (from, to) in [
            (toolchain(), root.join(TOOLCHAIN)),
            (cargo_home(), inside_out(root, &cargo_home().to_string_lossy())),
            (target, bound),
        ] {
            for folder in [&from, &to] {
                fs::create_dir_all(folder).expect("a directory can be made");
            }
            script.push_str(&format!("mount --bind '{}' '{}'\n", from.display(), to.display()));
        }
        env[0].1.insert_str(0, &format!("/{TOOLCHAIN}/bin:"));
        // Where crates lie is a part of what cargo knows compiled ones by.
        env.push(("CARGO_HOME".to_owned(), cargo_home().to_string_lossy().into_owned()));
    }
    env.extend(step.env.iter().cloned());
    script.push_str("exec chroot \"$@\"\n");
    let mut command = Command::new("unshare");
    command.args(["--mount", "bash", "-ec", &script, "packaging"]).arg(root).args(["env", "-i"]);
    command.args(env.iter().map(|(key, value)| format!("{key}={value}")));
    command.args(["sh", "-ec", &format!("cd {} && {line}", step.workdir)]);
    expect_success(&mut command, line);
    // What was built lies in the bound directory, which is not there any more; a later COPY looks for it in the stage.
    if rust {
        let target = inside_out(root, &step.workdir).join("target/release");
        fs::create_dir_all(&target).expect("a directory can be made");
        copy(&work.join("target/release/redhold"), &target.join("redhold"));
    }
}

fn inside_out(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// A minimal Debian 12, made once; with gcc where Rust is needed.
fn base(work: &Path, rust: bool) -> PathBuf {
    let base = work.join(if rust { "base-gcc" } else { "base" });
    let unfinished = base.with_extension("unfinished");
    if base.exists() {
        return base;
    }
    fs::remove_dir_all(&unfinished).ok();
    let mut command = Command::new("debootstrap");
    command
        .args(["--variant=minbase"])
        .args(rust.then_some("--include=gcc,libc6-dev"))
        .arg("bookworm")
        .arg(&unfinished);
    expect_success(&mut command, "debootstrap");
    fs::rename(&unfinished, &base).expect("a rename within a directory");
    base
}

fn toolchain() -> PathBuf {
    let output = Command::new("rustc").args(["--print", "sysroot"]).output().expect("rustc runs");
    PathBuf::from(String::from_utf8(output.stdout).expect("a path in UTF-8").trim())
}

fn cargo_home() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cargo");
    std::env::var_os("CARGO_HOME").map_or_else(home, PathBuf::from)
}

fn copy(from: &Path, to: &Path) {
    if to.is_dir() {
        fs::remove_dir_all(to).expect("an old copy can be removed");
    }
    expect_success(Command::new("cp").arg("-a").arg("--reflink=auto").arg(from).arg(to), "cp");
}

fn expect_success(command: &mut Command, what: &str) {
    let status = command.status().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(status.success(), "{what}: {status}; its output is above");
}
