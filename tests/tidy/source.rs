//! The repository's files as the rules see them: paths and texts, with comments and literals blanked where only code counts.

use std::fs;
use std::path::Path;

/// A file, by its path from the repository's root.
pub(crate) struct File {
    /// With `/` between the parts.
    pub(crate) path: String,
    /// As read.
    pub(crate) text: String,
}

impl File {
    /// For planted violations.
    pub(crate) fn planted(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// The folder below `src/`, or the file's stem when it lies in `src/` itself; `None` outside `src/`.
    pub(crate) fn folder(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let first = inside.split('/').next().unwrap_or(inside);
        Some(first.strip_suffix(".rs").unwrap_or(first))
    }

    /// True for a file that holds nothing but tests.
    pub(crate) fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.starts_with("benches/")
            || self.path.starts_with("fuzz/")
            || self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
    }

    /// The lines of code that are no test, numbered from 1, comments and literals blanked.
    pub(crate) fn code(&self) -> Vec<(usize, String)> {
        let blank = blank_comments_and_literals(&self.text);
        without_test_modules(&blank)
    }

    /// All lines of code, those of tests too, numbered from 1, comments and literals blanked.
    pub(crate) fn all_code(&self) -> Vec<(usize, String)> {
        let blank = blank_comments_and_literals(&self.text);
        blank.lines().enumerate().map(|(at, line)| (at + 1, line.to_owned())).collect()
    }
}

/// Every file of the repository that is not built or fetched, sorted by path. One that is no text has none.
pub(crate) fn repository() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    walk(root, root, &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

const NOT_OURS: [&str; 9] = [
    "target",
    ".git",
    ".tools",
    "node_modules",
    "__pycache__",
    "Cargo.lock",
    "corpus",
    "artifacts",
    "LICENSE",
];

fn walk(root: &Path, folder: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository is readable") {
        let entry = entry.expect("a folder entry is readable");
        let name = entry.file_name().to_string_lossy().into_owned();
        if NOT_OURS.contains(&name.as_str()) {
            continue;
        }
        let path = entry.path();
        if entry.file_type().expect("a folder entry has a type").is_dir() {
            walk(root, &path, files);
        } else if let Ok(bytes) = fs::read(&path) {
            let text = String::from_utf8(bytes).unwrap_or_default();
            let path = path.strip_prefix(root).expect("the walk stays below the root");
            files.push(File { path: path.to_string_lossy().replace('\\', "/"), text });
        }
    }
}

/// Replaces the inside of comments, strings and characters by spaces; line breaks stay.
fn blank_comments_and_literals(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none begins there.
fn literal_end(chars: &[char], at: usize) -> usize {
    let next = chars.get(at + 1).copied();
    let inside_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match chars[at] {
        '/' if next == Some('/') => find(chars, at, "\n").unwrap_or(chars.len()),
        '/' if next == Some('*') => block_comment_end(chars, at),
        '"' => string_end(chars, at),
        'r' if !inside_word || chars[at - 1] == 'b' => raw_string_end(chars, at),
        '\'' => char_end(chars, at),
        _ => at,
    }
}

fn find(chars: &[char], from: usize, what: &str) -> Option<usize> {
    let what: Vec<char> = what.chars().collect();
    (from..chars.len()).find(|&at| chars[at..].starts_with(&what))
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let mut depth = 0usize;
    let mut at = at;
    while at < chars.len() {
        if chars[at..].starts_with(&['/', '*']) {
            depth += 1;
            at += 2;
        } else if chars[at..].starts_with(&['*', '/']) {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut at = at + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

fn raw_string_end(chars: &[char], at: usize) -> usize {
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    if chars.get(at + 1 + hashes) != Some(&'"') {
        return at;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    find(chars, at + 2 + hashes, &close).map_or(chars.len(), |end| end + close.len())
}

/// A lifetime (`'a`) is no literal.
fn char_end(chars: &[char], at: usize) -> usize {
    if chars.get(at + 1) == Some(&'\\') {
        return find(chars, at + 3, "'").map_or(chars.len(), |end| end + 1);
    }
    if chars.get(at + 2) == Some(&'\'') { at + 3 } else { at }
}

/// Leaves out `#[cfg(test)] mod name { … }`; rustfmt puts the closing brace below the attribute.
fn without_test_modules(text: &str) -> Vec<(usize, String)> {
    let mut kept = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let inline_module = line.trim() == "#[cfg(test)]"
            && lines.peek().is_some_and(|(_, next)| next.contains("mod ") && next.trim_end().ends_with('{'));
        if inline_module {
            let closing = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
            lines.by_ref().find(|(_, line)| *line == closing);
        } else {
            kept.push((number + 1, line.to_owned()));
        }
    }
    kept
}

#[test]
fn only_code_is_left() {
    let file = File::planted(
        "src/resp/x.rs",
        "// tokio\nlet a = \"tokio\"; /* tokio /* x */ tokio */ let b = 'x';\nlet r = r#\"to\"kio\"#;\nfn f<'a>(c: &'a str) {}\n\
         let q = '\\''; let s = '\"';\n#[cfg(test)]\nmod tests {\n    use tokio;\n}\nlast",
    );
    let code = file.code();
    assert!(code.iter().all(|(_, line)| !line.contains("tokio")), "{code:?}");
    assert_eq!(code.last(), Some(&(10, "last".to_owned())));
    assert!(code.iter().any(|(_, line)| line.contains("fn f<'a>(c: &'a str)")));
}
