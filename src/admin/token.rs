//! The token that an order carries, `Authorization: Bearer …` (RFC 6750), beside the one in a file.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// Fewer bytes could be guessed.
const LEAST: usize = 16;

/// More are no token.
const MOST: usize = 4096;

/// `admin.token_file`, or one of `admin.roles`. The file is read for each token that is sent, so that another one in it is enough to
/// change it, and none is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFile(PathBuf);

impl TokenFile {
    /// Whether there is a token in the file.
    ///
    /// # Errors
    /// One sentence that names the file, without what is in it.
    pub fn new(path: PathBuf) -> Result<Self, String> {
        let file = Self(path);
        file.read().map(|_| file)
    }

    /// What keeps nobody waiting: other requests to the endpoint stand behind it.
    fn read(&self) -> Result<Zeroizing<String>, String> {
        if self.0.metadata().is_ok_and(|found| !found.is_file()) {
            return Err(format!("`{}` is no regular file", self.0.display()));
        }
        Self::read_at(&self.0)
    }

    /// The token in a file or a pipe, without the newline at its end.
    ///
    /// # Errors
    /// As [`TokenFile::new`].
    pub fn read_at(path: &Path) -> Result<Zeroizing<String>, String> {
        let file = File::open(path);
        let path = path.display();
        let mut text = Zeroizing::new(String::with_capacity(MOST + 3));
        let read = file.and_then(|file| file.take(MOST as u64 + 3).read_to_string(&mut text));
        read.map_err(|error| format!("cannot read `{path}`: {error}"))?;
        let end = text.trim_end_matches(['\n', '\r']).len();
        text.truncate(end);
        let is_of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if !(LEAST..=MOST).contains(&text.len()) {
            return Err(format!(
                "`{path}`: a token has {LEAST} to {MOST} characters, as `openssl rand -hex 32` makes it"
            ));
        }
        if !text.bytes().all(is_of_token) {
            return Err(format!("`{path}`: a token has letters, digits and -._~+/= alone"));
        }
        Ok(text)
    }

    /// Whether `given` is the token, found out in a time that does not tell how much of it is.
    ///
    /// # Errors
    /// As [`TokenFile::new`]: the file has changed to what is no token.
    pub fn holds(&self, given: &[u8]) -> Result<bool, String> {
        Ok(self.read()?.as_bytes().ct_eq(given).into())
    }

    /// Whether the same token is in both files now.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        self.read().is_ok_and(|token| other.holds(token.as_bytes()) == Ok(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef-._~+/=";

    fn file(name: &str, content: &[u8]) -> PathBuf {
        let path = std::env::temp_dir().join(format!("redhold-token-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn the_file_is_asked_each_time() {
        let path = file("each", format!("{TOKEN}\n").as_bytes());
        let token = TokenFile::new(path.clone()).unwrap();
        assert_eq!(token.holds(TOKEN.as_bytes()), Ok(true));
        for other in [&TOKEN[1..], &TOKEN[..22], "", "0123456789abcdef-._~+/-"] {
            assert_eq!(token.holds(other.as_bytes()), Ok(false), "{other}");
        }
        std::fs::write(&path, "fedcba9876543210\r\n").unwrap();
        assert_eq!(token.holds(TOKEN.as_bytes()), Ok(false));
        assert_eq!(token.holds(b"fedcba9876543210"), Ok(true));
        std::fs::remove_file(&path).unwrap();
        assert!(token.holds(b"fedcba9876543210").unwrap_err().starts_with("cannot read "));
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_shown() {
        let long = [b'a'; MOST + 1];
        let contents: [&[u8]; 6] =
            [b"", b"\n", b"0123456789abcde", b"0123456789 abcdef", b"0123456789abcdef\n0", &long];
        for (at, content) in contents.into_iter().enumerate() {
            let path = file(&format!("none-{at}"), content);
            let fault = TokenFile::new(path.clone()).unwrap_err();
            assert!(fault.contains("a token has") && !fault.contains("0123456789"), "{at}: {fault}");
            std::fs::remove_file(path).unwrap();
        }
        assert!(TokenFile::new(std::env::temp_dir()).unwrap_err().contains("no regular file"));
        let path = file("binary", &[0xff; 32]);
        assert!(TokenFile::new(path.clone()).unwrap_err().starts_with("cannot read "));
        std::fs::remove_file(path).unwrap();
        let path = file("longest", &long[1..]);
        assert!(TokenFile::new(path.clone()).is_ok());
        std::fs::remove_file(path).unwrap();
    }
}
