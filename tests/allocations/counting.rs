//! An allocator that counts, and the socket through which its counts are read.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

/// Threads that are told apart; all that come later share the last place.
const THREADS: usize = 64;
/// Allocations and reallocations of each thread …
static COUNTS: [AtomicU64; THREADS] = [const { AtomicU64::new(0) }; THREADS];
/// … and which it is.
static IDS: [AtomicI32; THREADS] = [const { AtomicI32::new(0) }; THREADS];
static KNOWN: AtomicUsize = AtomicUsize::new(0);
/// Bytes allocated and not given back, as they were asked for.
static IN_USE: AtomicU64 = AtomicU64::new(0);
/// The most that they ever were since this was last asked.
static PEAK: AtomicU64 = AtomicU64::new(0);
/// The threads, one bit each, of which is noted where they allocate.
static TRACED: AtomicU64 = AtomicU64::new(0);
static NOTED: Mutex<Vec<Backtrace>> = Mutex::new(Vec::new());

/// Allocations whose place is noted, at most.
const NOTED_MAX: usize = 2_000;
/// Of each, so many callers of this crate are shown …
const CALLERS: usize = 6;
/// … and so many places.
const PLACES: usize = 8;

thread_local! {
    /// This thread's allocations belong to the counting itself.
    static OURS: Cell<bool> = const { Cell::new(false) };
    /// This thread's place.
    static PLACE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The system's allocator, counted.
pub struct Counting;

// SAFETY: every call is handed to the system's allocator as it is; what is done beside touches no allocated memory.
#[allow(unsafe_code, reason = "an allocator can not be written without")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        given_back(layout.size());
        taken(size);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        given_back(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

fn taken(size: usize) {
    let in_use = IN_USE.fetch_add(size as u64, Ordering::Relaxed) + size as u64;
    PEAK.fetch_max(in_use, Ordering::Relaxed);
    // A thread that ends has no such mark any more, and is not looked at.
    let ours = OURS.try_with(Cell::get).unwrap_or(true);
    if ours {
        return;
    }
    let place = PLACE.get().unwrap_or_else(|| {
        let place = KNOWN.fetch_add(1, Ordering::Relaxed).min(THREADS - 1);
        IDS[place].store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Relaxed);
        PLACE.set(Some(place));
        place
    });
    COUNTS[place].fetch_add(1, Ordering::Relaxed);
    if TRACED.load(Ordering::Relaxed) & (1 << place) != 0 {
        OURS.set(true);
        let trace = Backtrace::force_capture();
        let mut noted = NOTED.lock().expect("nobody panics with it");
        if noted.len() < NOTED_MAX {
            noted.push(trace);
        }
        drop(noted);
        OURS.set(false);
    }
}

fn given_back(size: usize) {
    IN_USE.fetch_sub(size as u64, Ordering::Relaxed);
}

/// Answers whoever asks at this socket for as long as the process lives.
///
/// # Errors
/// The socket can not be made, or no thread.
pub fn serve(socket: &Path) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    let answer = move || {
        OURS.set(true);
        for stream in listener.incoming().map_while(Result::ok) {
            // Who asked may have left.
            talk(stream).ok();
        }
    };
    std::thread::Builder::new().name("counts".to_owned()).spawn(answer).map(drop)
}

fn talk(mut stream: UnixStream) -> io::Result<()> {
    let mut order = [0];
    loop {
        stream.read_exact(&mut order)?;
        match &order {
            b"c" => {
                let allocations = workers().map(|place| COUNTS[place].load(Ordering::Relaxed)).sum();
                let (in_use, peak) = (IN_USE.load(Ordering::Relaxed), PEAK.load(Ordering::Relaxed));
                PEAK.store(in_use, Ordering::Relaxed);
                stream.write_all([allocations, in_use, peak].map(u64::to_le_bytes).as_flattened())?;
            }
            b"t" => {
                NOTED.lock().expect("nobody panics with it").clear();
                TRACED.store(workers().map(|place| 1 << place).sum(), Ordering::Relaxed);
                stream.write_all(b"t")?;
            }
            _ => {
                TRACED.store(0, Ordering::Relaxed);
                let text = places();
                stream.write_all(&(text.len() as u64).to_le_bytes())?;
                stream.write_all(text.as_bytes())?;
            }
        }
    }
}

/// The places of the threads that serve clients. The others work by the clock, not for a request.
fn workers() -> impl Iterator<Item = usize> {
    let known = KNOWN.load(Ordering::Relaxed).min(THREADS - 1);
    (0..known).filter(|place| {
        let id = IDS[*place].load(Ordering::Relaxed);
        let name = std::fs::read_to_string(format!("/proc/self/task/{id}/comm"));
        name.is_ok_and(|name| name.starts_with("worker-"))
    })
}

/// The places where most of the noted allocations were made.
fn places() -> String {
    let noted = std::mem::take(&mut *NOTED.lock().expect("nobody panics with it"));
    let mut counted = BTreeMap::<String, usize>::new();
    for trace in &noted {
        *counted.entry(callers(&trace.to_string())).or_default() += 1;
    }
    let mut sorted: Vec<_> = counted.into_iter().map(|(place, count)| (count, place)).collect();
    sorted.sort_unstable_by(|one, other| other.cmp(one));
    let lines = sorted.iter().take(PLACES).map(|(count, place)| format!("{count} times in\n{place}"));
    format!("{} allocations noted\n{}", noted.len(), lines.collect::<String>())
}

/// Who in this crate called, the innermost first; everybody where this crate did not.
fn callers(trace: &str) -> String {
    let lines: Vec<&str> = trace.lines().map(str::trim).collect();
    let calls = lines.windows(2).filter(|pair| !pair[0].starts_with("at "));
    let line = |pair: &[&str]| {
        let place = if pair[1].starts_with("at ") { pair[1] } else { "" };
        format!("    {} {place}\n", pair[0].split_once(": ").map_or(pair[0], |(_, name)| name))
    };
    let is_own = |pair: &&[&str]| pair[1].starts_with("at ./src/");
    let own: Vec<String> = calls.clone().filter(is_own).take(CALLERS).map(line).collect();
    if own.is_empty() { calls.skip(CALLERS).take(2 * CALLERS).map(line).collect() } else { own.concat() }
}
