//! Arbitrary bytes as a configuration file: faults or settings, the same each time, and each fault is one line for a terminal.

use redhold::config::parse;

/// Files that are no files, and escapes that could hide the names of what is left out here.
const LEFT_OUT: [&str; 3] = ["/dev", "/proc", "\\"];

fn read(text: &str) -> Result<String, String> {
    parse(text, []).map(|config| format!("{config:?}")).map_err(|faults| faults.to_string())
}

/// See the module's text. Names of hosts are looked up when `listen` is read, which is nothing to do a million times.
pub fn body(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.contains("listen") || LEFT_OUT.iter().any(|it| text.contains(it)) {
        return;
    }
    let found = read(text);
    assert_eq!(read(text), found);
    match &found {
        Ok(_) => assert_eq!(read(&format!("{text}\n# a remark\n")), found),
        Err(faults) => {
            assert!(!faults.is_empty());
            let shown = |c: char| c == '\n' || !c.is_control();
            assert!(faults.chars().all(shown), "{faults:?}");
        }
    }
}
