//! Nanoseconds per frame of the scanners, beside `redis-protocol`: `cargo bench --bench wire`.
//!
//! The best of many short rounds: what the code costs when nothing else disturbs it.

use std::hint::black_box;
use std::time::Instant;

use redhold::resp::{Fed, Limits, ReplyScanner, RequestScanner, Scan};
use redis_protocol::resp2::decode::decode_range;

const FRAMES: usize = 64;

fn main() {
    // Run as a test it only shows that it works.
    let rounds = if std::env::args().any(|argument| argument == "--bench") { 20_000 } else { 1 };
    let set =
        [&b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000042\r\n$1024\r\n"[..], &[b'v'; 1024], b"\r\n"].concat();
    for (name, frame) in [
        ("GET of a 16 byte key", &b"*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000042\r\n"[..]),
        ("SET of 1 KiB", &set),
        ("inline GET", b"get key:000000000042\r\n"),
    ] {
        let pipeline = frame.repeat(FRAMES);
        report(name, "scanner", rounds, || requests(&pipeline));
        if frame.starts_with(b"*") {
            report(name, "redis-protocol", rounds, || oracle(&pipeline));
        }
    }
    let bulk = [&b"$1024\r\n"[..], &[b'v'; 1024], b"\r\n"].concat();
    let mget = [&b"*10\r\n"[..], &b"$3\r\nabc\r\n".repeat(10)].concat();
    for (name, frame) in [
        ("reply OK", &b"+OK\r\n"[..]),
        ("reply integer", b":1234\r\n"),
        ("reply 16 bytes", b"$16\r\nvalue:0000000042\r\n"),
        ("reply 1 KiB", &bulk),
        ("reply 10 strings", &mget),
    ] {
        let pipeline = frame.repeat(FRAMES);
        report(name, "scanner", rounds, || replies(&pipeline));
        report(name, "redis-protocol", rounds, || oracle(&pipeline));
    }
}

fn report(name: &str, who: &str, rounds: usize, mut frames: impl FnMut() -> usize) {
    let mut best = f64::INFINITY;
    for _ in 0..rounds {
        let start = Instant::now();
        assert_eq!(black_box(frames()), FRAMES, "{who} finds another number of frames in {name}");
        best = best.min(start.elapsed().as_nanos() as f64 / FRAMES as f64);
    }
    println!("{name:<22} {who:<16} {best:>8.1} ns");
}

fn requests(mut bytes: &[u8]) -> usize {
    let limits = Limits::default();
    let mut scanner = RequestScanner::default();
    let mut found = 0;
    while let Ok(Scan::Complete { len }) = scanner.scan(black_box(bytes), &limits) {
        black_box(scanner.request(bytes).name());
        scanner.reset();
        bytes = &bytes[len..];
        found += 1;
    }
    found
}

fn replies(mut bytes: &[u8]) -> usize {
    let mut scanner = ReplyScanner::default();
    let mut found = 0;
    while let Ok(Fed::Frame { end }) = scanner.feed(black_box(bytes)) {
        bytes = &bytes[end..];
        found += 1;
    }
    found
}

fn oracle(mut bytes: &[u8]) -> usize {
    let mut found = 0;
    while let Ok(Some((frame, len))) = decode_range(black_box(bytes)) {
        black_box(frame);
        bytes = &bytes[len..];
        found += 1;
    }
    found
}
