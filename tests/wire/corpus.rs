//! What the fuzz targets do, on the kept corpus and on what a seed makes of it: no instrumented build, and the same each time.
//! `fuzz/run.sh` looks for more.

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::bodies;
use crate::mutation::Mutator;

/// Files of one target: few enough to be read by people.
const FILES_MAX: usize = 64;
/// Of one of them: what is longer says nothing that a shorter one does not.
const FILE_MAX: u64 = 1 << 10;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let files =
        fs::read_dir(folder(target)).unwrap_or_else(|fault| panic!("the corpus of {target}: {fault}"));
    let mut files: Vec<_> = files
        .map(|file| {
            let path = file.expect("a file of the corpus").path();
            let bytes = fs::read(&path).expect("a file of the corpus is readable");
            assert!(bytes.len() as u64 <= FILE_MAX, "{}: {} bytes", path.display(), bytes.len());
            (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), bytes)
        })
        .collect();
    assert!(!files.is_empty() && files.len() <= FILES_MAX, "{target}: {} files", files.len());
    files.sort();
    files
}

fn told(fault: &(dyn Any + Send)) -> &str {
    fault
        .downcast_ref::<String>()
        .map(String::as_str)
        .or(fault.downcast_ref::<&str>().copied())
        .unwrap_or("?")
}

/// Plays the corpus, and so many inputs made of it.
#[track_caller]
fn play(target: &str, body: fn(&[u8]), mutations: usize) {
    let corpus = corpus(target);
    let judge = |name: &str, input: &[u8]| {
        if let Err(fault) = catch_unwind(AssertUnwindSafe(|| body(input))) {
            panic!(
                "{target}, {name}: {}; keep this in fuzz/corpus/{target}: {}",
                told(&*fault),
                input.escape_ascii()
            );
        }
    };
    corpus.iter().for_each(|(name, input)| judge(name, input));
    let inputs: Vec<Vec<u8>> = corpus.into_iter().map(|(_, input)| input).collect();
    let mut mutator = Mutator::new(24_833, &inputs);
    for number in 0..mutations {
        judge(&format!("mutation {number}"), mutator.next());
    }
}

macro_rules! targets {
    ($($target:ident: $mutations:expr),+ $(,)?) => {
        $(#[test] fn $target() { play(stringify!($target), bodies::$target::body, $mutations); })+

        /// Each target of libFuzzer is played here, and has a corpus.
        #[test]
        fn no_target_is_left_out() {
            let names = |folder: &str, cut: &str| -> Vec<String> {
                let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder));
                let mut names: Vec<String> = files
                    .expect("a folder of fuzz/")
                    .map(|file| file.expect("a file").file_name().to_string_lossy().replace(cut, ""))
                    .filter(|name| name != "mod")
                    .collect();
                names.sort();
                names
            };
            let here = [$(stringify!($target)),+];
            assert_eq!(names("targets", ".rs"), here);
            assert_eq!(names("bodies", ".rs"), here);
            assert_eq!(names("corpus", ""), here);
        }
    };
}

targets!(
    answers: 100_000,
    brains: 100_000,
    commands: 100_000,
    config: 20_000,
    hosts: 100_000,
    info: 50_000,
    proxy_header: 100_000,
    replies: 100_000,
    requests: 100_000,
);
