//! CLIENT MAINT_NOTIFICATIONS: which clients want to be told of changes of primary and of the end of the proxy.

use super::Misuse;

/// Kinds of address that clients ask for. Redhold knows one address, that of `proxy.announce`.
const ENDPOINT_TYPES: [&[u8]; 4] = [b"internal-ip", b"internal-fqdn", b"external-ip", b"external-fqdn"];

/// What a client wants to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notices {
    /// MOVING has to name an address: who did not ask for `none` is not prepared for a null in its place.
    pub names_address: bool,
}

/// What CLIENT MAINT_NOTIFICATIONS with these arguments asks for; `None`: to be told nothing.
///
/// # Errors
/// The request can not be taken as it is written.
pub fn read_notices(args: &[&[u8]]) -> Result<Option<Notices>, Misuse> {
    let is = |word: &[u8], name: &[u8]| word.eq_ignore_ascii_case(name);
    let (switch, options) = match args {
        [_, _, switch, options @ ..] => (*switch, options),
        _ => return Err(Misuse::arity("client|maint_notifications")),
    };
    let mut wanted = Notices { names_address: true };
    for option in options.chunks(2) {
        match option {
            [name, kind] if is(name, b"moving-endpoint-type") => {
                let named = ENDPOINT_TYPES.iter().any(|known| is(kind, known));
                if !named && !is(kind, b"none") {
                    return Err(Misuse::quoting("ERR unknown moving-endpoint-type '", kind, "'"));
                }
                wanted.names_address = named;
            }
            _ => return Err(Misuse::syntax()),
        }
    }
    match switch {
        on if is(on, b"on") => Ok(Some(wanted)),
        off if is(off, b"off") && options.is_empty() => Ok(None),
        _ => Err(Misuse::syntax()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<bool>, String> {
        let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        let judged = read_notices(&words);
        judged.map(|wanted| wanted.map(|it| it.names_address)).map_err(|misuse| format!("{misuse:?}"))
    }

    #[test]
    fn it_is_switched_on_for_a_kind_of_address_and_off() {
        assert_eq!(read("CLIENT MAINT_NOTIFICATIONS ON"), Ok(Some(true)));
        assert_eq!(read("client maint_notifications on Moving-Endpoint-Type EXTERNAL-fqdn"), Ok(Some(true)));
        assert_eq!(read("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type none"), Ok(Some(false)));
        assert_eq!(read("CLIENT MAINT_NOTIFICATIONS off"), Ok(None));
    }

    #[test]
    fn what_is_written_otherwise_is_refused() {
        for (text, words) in [
            ("CLIENT MAINT_NOTIFICATIONS", "wrong number of arguments for 'client|maint_notifications'"),
            ("CLIENT MAINT_NOTIFICATIONS MAYBE", "ERR syntax error"),
            ("CLIENT MAINT_NOTIFICATIONS OFF moving-endpoint-type none", "ERR syntax error"),
            ("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type", "ERR syntax error"),
            ("CLIENT MAINT_NOTIFICATIONS ON x y", "ERR syntax error"),
            ("CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type x", "ERR unknown moving-endpoint-type 'x'"),
        ] {
            let refusal = read(text).unwrap_err();
            assert!(refusal.contains(words), "{text}: {refusal}");
        }
    }
}
