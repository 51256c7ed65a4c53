//! Where memory is the compiler's to guard: nowhere does the program leave it, and a test does in one place.

use crate::source::File;

/// The one file that may, and why: an allocator cannot be written otherwise.
const ALLOWED: [&str; 1] = ["tests/allocations/counting.rs"];
/// The roots that the program is made of. What they forbid no module below can allow.
const ROOTS: [&str; 2] = ["src/lib.rs", "src/main.rs"];
/// Lines before an `unsafe` among which its reason stands.
const NEAR: usize = 4;

/// Where what somebody gives is compared with a secret: in a time that does not tell how much of it is right.
const COMPARED: [&str; 2] = ["src/admin/token.rs", "src/users/user.rs"];

/// Files of [`COMPARED`] that compare otherwise.
pub(crate) fn hasty(files: &[File]) -> Vec<String> {
    let compares = |path: &str| {
        let file = files.iter().find(|file| file.path == path);
        file.is_some_and(|file| file.code().iter().any(|(_, line)| line.contains(".ct_eq(")))
    };
    COMPARED
        .iter()
        .filter(|path| !compares(path))
        .map(|path| format!("{path}: compares by `ct_eq`"))
        .collect()
}

#[test]
fn secrets_are_compared_in_constant_time() {
    crate::report(hasty);
}

#[test]
fn a_hasty_comparison_is_found() {
    let files = COMPARED.map(|path| File::planted(path, "// a.ct_eq(b)\nlet same = a == b;"));
    assert_eq!(hasty(&files).len(), COMPARED.len());
    assert!(hasty(&COMPARED.map(|path| File::planted(path, "let same = a.ct_eq(b);"))).is_empty());
}

fn is_unsafe(line: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
}

/// `unsafe` where it may not be or without a reason, and roots that do not forbid it.
pub(crate) fn dangers(files: &[File]) -> Vec<String> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        if ROOTS.contains(&file.path.as_str()) && !file.text.contains("#![forbid(unsafe_code)]") {
            faults.push(format!("{}: begins with #![forbid(unsafe_code)]", file.path));
        }
        let lines: Vec<&str> = file.text.lines().collect();
        for (number, _) in file.all_code().into_iter().filter(|(_, line)| is_unsafe(line)) {
            if !ALLOWED.contains(&file.path.as_str()) {
                faults.push(format!("{}:{number}: `unsafe` is written in {ALLOWED:?} only", file.path));
            } else if lines[number - 1].contains("unsafe {")
                && !lines[number.saturating_sub(NEAR)..number].iter().any(|line| line.contains("// SAFETY: "))
            {
                faults.push(format!(
                    "{}:{number}: `unsafe` without `// SAFETY: ` and why it is none",
                    file.path
                ));
            }
        }
    }
    faults
}

#[test]
fn memory_is_the_compilers_to_guard() {
    crate::report(dangers);
}

#[test]
fn planted_dangers_are_found() {
    let plant = |path: &str, text: &str| dangers(&[File::planted(path, text)]).len();
    assert_eq!(plant("src/resp/x.rs", "let x = unsafe { *pointer };"), 1);
    assert_eq!(plant("src/resp/x.rs", "#[cfg(test)]\nmod tests {\n    unsafe fn x() {}\n}\n"), 1);
    assert_eq!(plant("tests/x.rs", "unsafe impl Send for X {}"), 1);
    assert_eq!(
        plant("src/resp/x.rs", "// unsafe\nlet policy = \"unsafe-inline\";\n#![allow(unsafe_code)]"),
        0
    );
    assert_eq!(plant("src/lib.rs", "pub mod resp;"), 1);
    assert_eq!(plant("src/lib.rs", "#![forbid(unsafe_code)]\npub mod resp;"), 0);
    assert_eq!(plant(ALLOWED[0], "let x = unsafe { *pointer };"), 1);
    assert_eq!(plant(ALLOWED[0], "// SAFETY: nobody else has it.\nlet x = unsafe { *pointer };"), 0);
}
