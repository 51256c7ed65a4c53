//! The Dockerfile: read, judged, and its steps executed in a debootstrap chroot, since a container engine cannot be counted on; and the
//! systemd unit, judged.

mod chroot;
mod dockerfile;
mod image;
mod unit;

use std::path::Path;
use std::process::Command;

/// The whole way: both stages, then the image as its user, with its own command and health check, in front of real servers.
#[test]
#[ignore = "needs root, debootstrap and minutes: make test-all"]
fn every_step_works_in_a_chroot() {
    assert!(rustix::process::geteuid().is_root(), "a chroot needs root; type: sudo make test-all");
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let work = repository.join(".tools/packaging");
    std::fs::create_dir_all(&work).expect("the repository is writable");
    let text = std::fs::read_to_string(repository.join("Dockerfile")).expect("a Dockerfile");
    let stages = image::stages(&dockerfile::parse(&text).unwrap_or_else(|fault| panic!("{fault}")));
    let built = chroot::build(&stages, repository, &work);
    let last = built.last().expect("a stage");
    let ports: Vec<String> = last.stage.ports.iter().map(u16::to_string).collect();

    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--fork", "--kill-child"]);
    command.arg(repository.join("tests/packaging/runtime.sh"));
    command.arg(&last.root).arg(last.stage.user.as_deref().unwrap_or("0:0")).arg(ports.join(" "));
    command.args(&last.stage.healthcheck).arg("--").args(&last.stage.entrypoint).args(&last.stage.cmd);
    let status = command.status().expect("unshare runs");
    assert!(status.success(), "runtime.sh: {status}; its output is above");

    // With the program that the first stage has built, in the Debian that the last one began as.
    let mut command = Command::new(repository.join("tests/packaging/deb.sh"));
    let status = command.arg(work.join("target")).arg(work.join("base")).arg(&work).status();
    let status = status.expect("bash runs");
    assert!(status.success(), "deb.sh: {status}; its output is above");
}
