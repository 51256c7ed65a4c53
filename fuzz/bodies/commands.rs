//! Arbitrary bytes as a request that is understood: its keys and secrets are among its arguments, and who a client says it is
//! is said again in the same words.

use bytes::BytesMut;
use redhold::command::{Reach, classify, classify_partial, is_secret, keys, reach, redirected_to};
use redhold::frontend::strip;
use redhold::resp::{Limits, RequestScanner, Scan};
use redhold::session::{Hello, parse_db, read_notices};

/// See the module's text.
pub fn body(data: &[u8]) {
    let mut scanner = RequestScanner::default();
    let Ok(Scan::Complete { .. }) = scanner.scan(data, &Limits::default()) else { return };
    let request = scanner.request(data);
    let args: Vec<&[u8]> = request.args().collect();
    let class = classify(&args);
    assert_eq!(classify(&request), class);
    classify_partial(&args);

    let mut found = vec![u16::MAX];
    keys(class.row, &args, &mut found);
    assert!(found.iter().all(|&at| at > 0 && usize::from(at) < args.len()), "{found:?} of {}", args.len());
    let mut reached = Vec::new();
    if reach(class.row, &args, &mut reached) == Reach::Keys {
        assert_eq!(reached, found);
    }
    assert!(redirected_to(&args).is_none_or(|at| at < args.len()));
    let hidden = (0..args.len()).filter(|&at| is_secret(&args, at)).count();
    if args[0].eq_ignore_ascii_case(b"auth") {
        assert_eq!(hidden, args.len() - 1);
    }
    assert!(!is_secret(&args, 0));

    for epoch in [1, 42, u64::MAX] {
        args.iter().for_each(|arg| drop(strip(arg, epoch)));
    }
    let _ = (args.iter().filter_map(|arg| parse_db(arg)).count(), read_notices(&args));
    if let Ok(hello) = Hello::parse(args.iter().copied()) {
        said_again(&hello);
    }
}

fn said_again(hello: &Hello) {
    if hello.proto.is_none() {
        return;
    }
    let mut written = BytesMut::new();
    hello.write(&mut written);
    let mut scanner = RequestScanner::default();
    let scan = scanner.scan(&written, &Limits::default());
    assert_eq!(scan, Ok(Scan::Complete { len: written.len() }));
    let request = scanner.request(&written);
    let again = Hello::parse(request.args());
    assert!(again.is_ok_and(|again| again == *hello), "{hello:?}");
}
