//! What a client has said about itself with CLIENT SETNAME, SETINFO and HELLO SETNAME, and how a connection of its own is
//! told the same.

use super::misuse::Misuse;
use crate::resp::encode;
use bytes::{Bytes, BytesMut};
use std::rc::Rc;

/// A client's name and library, each empty when it did not say. Most clients say nothing, and many connections are told the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Option<Rc<Words>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Words {
    name: Bytes,
    lib_name: Bytes,
    lib_ver: Bytes,
}

/// What is said by saying nothing.
static NOTHING: Words = Words { name: Bytes::new(), lib_name: Bytes::new(), lib_ver: Bytes::new() };

impl Names {
    fn words(&self) -> &Words {
        self.0.as_deref().unwrap_or(&NOTHING)
    }

    /// Says what is left when `change` is made.
    fn change(&mut self, change: impl FnOnce(&mut Words)) {
        let mut words = self.words().clone();
        change(&mut words);
        self.0 = (words != NOTHING).then(|| Rc::new(words));
    }

    /// As CLIENT SETNAME does; an empty name takes the name away.
    pub fn set_name(&mut self, name: &[u8]) -> Result<(), Misuse> {
        check_name(name)?;
        self.change(|words| words.name = Bytes::copy_from_slice(name));
        Ok(())
    }

    /// Empty when there is none.
    pub fn name(&self) -> &[u8] {
        &self.words().name
    }

    /// As CLIENT SETINFO does since Redis 7.2, for servers that do not know it as well.
    pub fn set_info(&mut self, option: &[u8], value: &[u8]) -> Result<(), Misuse> {
        let is_name = option.eq_ignore_ascii_case(b"lib-name");
        if !is_name && !option.eq_ignore_ascii_case(b"lib-ver") {
            return Err(Misuse::quoting("ERR Unrecognized option '", option, "'"));
        }
        if !is_plain(value) {
            return Err(Misuse::quoting(
                "ERR ",
                option,
                " cannot contain spaces, newlines or special characters.",
            ));
        }
        self.change(|words| {
            *(if is_name { &mut words.lib_name } else { &mut words.lib_ver }) = Bytes::copy_from_slice(value);
        });
        Ok(())
    }

    /// The client's library, empty when it did not say.
    pub fn lib_name(&self) -> &[u8] {
        &self.words().lib_name
    }

    /// The library's version, empty when it did not say.
    pub fn lib_ver(&self) -> &[u8] {
        &self.words().lib_ver
    }

    /// As RESET does: the library is still the same one.
    pub fn reset(&mut self) {
        self.change(|words| words.name = Bytes::new());
    }

    /// Appends the requests that make a connection which was told `told` show these names; returns their number. A
    /// server that knows SETINFO not (before 7.2) refuses it, which changes nothing.
    pub fn tell(&self, told: &Self, out: &mut BytesMut) -> u32 {
        let (mut count, says, told) = (0, self.words(), told.words());
        if says.name != told.name {
            encode::own_command(out, &[b"CLIENT", b"SETNAME", &says.name]);
            count += 1;
        }
        for (option, value, told) in
            [(&b"lib-name"[..], &says.lib_name, &told.lib_name), (b"lib-ver", &says.lib_ver, &told.lib_ver)]
        {
            if value != told {
                encode::own_command(out, &[b"CLIENT", b"SETINFO", option, value]);
                count += 1;
            }
        }
        count
    }
}

/// How those call their connections who decide about a group, Sentinels and proxies: this, and at least so many hex digits. Whoever is
/// called so at a node is taken for one.
const BRAINS: [(&[u8], usize); 2] = [(b"sentinel-", 8), (b"redhold:control:", 16)];

/// Refuses a name that would break the format of CLIENT LIST, in Redis's words, and one by which the client would pass for a brain.
pub(super) fn check_name(name: &[u8]) -> Result<(), Misuse> {
    if !is_plain(name) {
        return Err(Misuse::new("ERR Client names cannot contain spaces, newlines or special characters."));
    }
    let passes_for = |(begin, digits): &(&[u8], usize)| {
        let id = name.strip_prefix(*begin).and_then(|rest| rest.get(..*digits));
        id.is_some_and(|id| id.iter().all(u8::is_ascii_hexdigit))
    };
    if BRAINS.iter().any(passes_for) {
        return Err(Misuse::new(FORGED));
    }
    Ok(())
}

const FORGED: &str = "ERR client names like sentinel-01234567 or redhold:control:0123456789abcdef are refused by Redhold, which would take the client for another brain; not executed";

/// Nothing in it breaks the format of CLIENT LIST.
fn is_plain(text: &[u8]) -> bool {
    text.iter().all(|byte| (b'!'..=b'~').contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(from: &Names, to: &Names) -> (u32, String) {
        let mut out = BytesMut::new();
        let count = to.tell(from, &mut out);
        let text = String::from_utf8(out.to_vec()).unwrap();
        let words: Vec<&str> = text.split("\r\n").filter(|word| !word.starts_with(['*', '$'])).collect();
        (count, words.join(" ").trim_end().to_owned())
    }

    fn complete() -> Names {
        let mut names = Names::default();
        names.set_name(b"app").unwrap();
        names.set_info(b"LIB-NAME", b"redis-py").unwrap();
        names.set_info(b"lib-ver", b"8.0").unwrap();
        names
    }

    #[test]
    fn a_connection_is_told_what_it_does_not_know() {
        let (none, all) = (Names::default(), complete());
        assert_eq!(told(&none, &none), (0, String::new()));
        assert_eq!(told(&all, &all), (0, String::new()));
        let everything =
            "CLIENt SETNAME app CLIENt SETINFO lib-name redis-py CLIENt SETINFO lib-ver 8.0".to_owned();
        assert_eq!(told(&none, &all), (3, everything));
        assert_eq!(told(&all, &none).0, 3);
        for brain in ["sentinel-01234567-cmd", "redhold:control:0123456789abcdef"] {
            assert_eq!(Names::default().set_name(brain.as_bytes()), Err(Misuse::new(FORGED)));
        }
        for ordinary in ["sentinel-worker", "sentinel-0123456", "redhold:control:", "sentinel-0123456z"] {
            assert_eq!(Names::default().set_name(ordinary.as_bytes()), Ok(()), "{ordinary}");
        }
        let mut renamed = all.clone();
        renamed.set_name(b"other").unwrap();
        assert_eq!(told(&all, &renamed), (1, "CLIENt SETNAME other".to_owned()));
    }

    #[test]
    fn a_reset_leaves_the_library_only() {
        let mut names = complete();
        names.reset();
        assert_eq!(names.name(), b"");
        assert_eq!((names.lib_name(), names.lib_ver()), (&b"redis-py"[..], &b"8.0"[..]));
    }

    #[test]
    fn a_name_that_breaks_the_list_is_refused() {
        let mut names = complete();
        names.set_name(b"a b").unwrap_err();
        names.set_info(b"lib-name", b"a\nb").unwrap_err();
        names.set_info(b"other", b"x").unwrap_err();
        assert_eq!(names, complete());
    }
}
