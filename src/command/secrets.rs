//! Which arguments of a request are secrets: nobody is shown them, whoever may look at others' requests.

use super::args::Args;

/// Settings whose values are secrets to every server that has them.
const SECRET_SETTINGS: [&[u8]; 7] = [
    b"requirepass",
    b"masterauth",
    b"masteruser",
    b"primaryauth",
    b"primaryuser",
    b"tls-key-file-pass",
    b"tls-client-key-file-pass",
];

/// Where MIGRATE's options begin.
const MIGRATE_OPTIONS: usize = 6;

/// Whether argument number `at` is a secret, as servers judge it in their own SLOWLOG and MONITOR. Judged by words alone: what
/// a server would refuse is hidden too.
pub fn is_secret<A: Args + ?Sized>(request: &A, at: usize) -> bool {
    let is =
        |index: usize, word: &[u8]| index < request.count() && request.arg(index).eq_ignore_ascii_case(word);
    match () {
        () if at == 0 => false,
        () if is(0, b"auth") => true,
        () if is(0, b"hello") => follows_auth(request, 2, at),
        () if is(0, b"acl") && is(1, b"setuser") => at >= 2,
        () if is(0, b"config") && is(1, b"set") => {
            at >= 3 && at % 2 == 1 && SECRET_SETTINGS.iter().any(|name| is(at - 1, name))
        }
        () if is(0, b"migrate") => follows_auth(request, MIGRATE_OPTIONS, at),
        () => false,
    }
}

/// Whether `at` is an argument of AUTH or AUTH2 among options that begin at `from`. Keys of MIGRATE may be called so too.
fn follows_auth<A: Args + ?Sized>(request: &A, from: usize, at: usize) -> bool {
    let mut option = from;
    while option < at {
        let word = request.arg(option);
        let secrets = match () {
            () if word.eq_ignore_ascii_case(b"keys") => return false,
            // HELLO's has two, MIGRATE's one.
            () if word.eq_ignore_ascii_case(b"auth") && from == MIGRATE_OPTIONS => 1,
            () if word.eq_ignore_ascii_case(b"auth") || word.eq_ignore_ascii_case(b"auth2") => 2,
            () => 0,
        };
        if at <= option + secrets {
            return true;
        }
        // SETNAME has a word of its own.
        option += 1 + if secrets == 0 && word.eq_ignore_ascii_case(b"setname") { 1 } else { secrets };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::is_secret;

    #[test]
    fn secrets_are_hidden_and_nothing_else() {
        for (request, shown) in [
            ("AUTH pw", "AUTH *"),
            ("auth user pw", "auth * *"),
            ("AUTH a b c", "AUTH * * *"),
            ("HELLO", "HELLO"),
            ("HELLO 3 AUTH user pw SETNAME auth", "HELLO 3 AUTH * * SETNAME auth"),
            ("HELLO 3 SETNAME auth AUTH user pw", "HELLO 3 SETNAME auth AUTH * *"),
            ("HELLO 3 AUTH pw", "HELLO 3 AUTH *"),
            ("ACL SETUSER me on >pw", "ACL SETUSER * * *"),
            ("ACL GETUSER me", "ACL GETUSER me"),
            ("CONFIG SET requirepass pw", "CONFIG SET requirepass *"),
            ("config set maxmemory 1 MasterAuth pw hz 10", "config set maxmemory 1 MasterAuth * hz 10"),
            ("CONFIG SET maxmemory requirepass", "CONFIG SET maxmemory requirepass"),
            ("CONFIG GET requirepass masterauth", "CONFIG GET requirepass masterauth"),
            ("MIGRATE h 1 auth 0 9 COPY AUTH pw KEYS auth a", "MIGRATE h 1 auth 0 9 COPY AUTH * KEYS auth a"),
            ("MIGRATE h 1 k 0 9 auth2 u pw REPLACE", "MIGRATE h 1 k 0 9 auth2 * * REPLACE"),
            ("MIGRATE h 1 k 0 9 AUTH", "MIGRATE h 1 k 0 9 AUTH"),
            ("SET auth requirepass", "SET auth requirepass"),
        ] {
            let words: Vec<&str> = request.split(' ').collect();
            let seen = |at: usize| if is_secret(&words, at) { "*" } else { words[at] };
            let seen: Vec<&str> = (0..words.len()).map(seen).collect();
            assert_eq!(seen.join(" "), shown);
        }
    }
}
