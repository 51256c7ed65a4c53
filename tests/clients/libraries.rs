//! The libraries that have a program here, each with a test; docs/compatibility.md is written from this table and the runs hold it true.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::dying_with_us;

/// What runs a program.
#[derive(Debug, Clone, Copy)]
pub enum Runs {
    /// `python3 python/FILE`, with these folders of .tools/clients as PYTHONPATH.
    Python(&'static str, &'static [&'static str]),
    /// `node node/FILE`, with the modules of this folder of .tools/clients.
    Node(&'static str, &'static str),
    /// `ruby ruby/FILE`, with Debian's library.
    Ruby(&'static str),
    /// `php php/FILE`, with Debian's library.
    Php(&'static str),
    /// A program below target/.
    Built(&'static str),
}

/// A library with a program.
#[derive(Debug)]
pub struct Library {
    /// As its program calls it.
    pub name: &'static str,
    /// The version that runs.
    pub version: &'static str,
    /// The language, and where the library comes from.
    pub origin: &'static str,
    /// The protocol that it speaks unless told otherwise: 2 or 3.
    pub resp: u8,
    /// The name that it gives itself with CLIENT SETINFO; empty: none.
    pub says: &'static str,
    /// What is not at its default here.
    pub set: &'static str,
    /// Its program.
    pub runs: Runs,
}

impl Library {
    /// What starts its program, or `None` when it is not installed and need not be.
    #[track_caller]
    pub fn command(&self) -> Option<Command> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (programs, tools) = (root.join("tests/clients"), root.join(".tools/clients"));
        let (interpreter, file, needed): (&str, PathBuf, Vec<PathBuf>) = match self.runs {
            Runs::Python(file, folders) => {
                let folders = folders.iter().map(|folder| tools.join(folder)).collect();
                ("python3", programs.join("python").join(file), folders)
            }
            Runs::Node(file, folder) => {
                ("node", programs.join("node").join(file), vec![tools.join(folder).join("node_modules")])
            }
            Runs::Ruby(file) => ("ruby", programs.join("ruby").join(file), vec![]),
            Runs::Php(file) => ("php", programs.join("php").join(file), vec![]),
            Runs::Built(file) => ("", root.join("target").join(file), vec![root.join("target").join(file)]),
        };
        let program = if interpreter.is_empty() { Some(file.clone()) } else { on_path(interpreter) };
        let missing = needed.iter().find(|path| !path.exists()).map(|path| path.display().to_string());
        if let Some(missing) = missing.or_else(|| program.is_none().then(|| interpreter.to_owned())) {
            assert!(std::env::var_os("REDHOLD_ALL").is_none(), "{}: {missing} is not installed", self.name);
            eprintln!("{} is not tested: {missing} is not installed", self.name);
            return None;
        }
        let mut command = dying_with_us(program.expect("it is there").as_os_str());
        if !interpreter.is_empty() {
            command.arg(file);
        }
        let path = std::env::join_paths(needed).expect("paths without colons");
        command.env("PYTHONPATH", &path).env("NODE_PATH", &path).env("PYTHONDONTWRITEBYTECODE", "1");
        Some(command)
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.exists())
}

const NO_RETRIES: &str = "no retries";
const PATIENT: &str = "request time-out 20 s, of 250 ms";

/// A release of redis-py: its version, the protocol that it speaks, and its folder alone and beside the parser in C.
type Release = (&'static str, u8, &'static [&'static str], &'static [&'static str]);

const V5: Release = ("5.3.1", 2, &["redis-5.3.1"], &["redis-5.3.1", "hiredis-3.5.0"]);
const V6: Release = ("6.4.0", 2, &["redis-6.4.0"], &["redis-6.4.0", "hiredis-3.5.0"]);
const V7: Release = ("7.4.1", 2, &["redis-7.4.1"], &["redis-7.4.1", "hiredis-3.5.0"]);
const V8: Release = ("8.1.0", 3, &["redis-8.1.0"], &["redis-8.1.0", "hiredis-3.5.0"]);

/// redis-py, blocking or with asyncio, with the parser in Python or that in C.
const fn redis_py(release: Release, asyncio: bool, hiredis: bool) -> Library {
    let (version, resp, alone, with_hiredis) = release;
    let folders = if hiredis { with_hiredis } else { alone };
    let name = match (asyncio, hiredis) {
        (false, false) => "redis-py",
        (false, true) => "redis-py+hiredis",
        (true, false) => "redis-py-asyncio",
        (true, true) => "redis-py-asyncio+hiredis",
    };
    Library {
        name,
        version,
        origin: if hiredis { "Python, PyPI `redis`, `hiredis` 3.5.0" } else { "Python, PyPI `redis`" },
        resp,
        says: "redis-py",
        set: NO_RETRIES,
        runs: Runs::Python(if asyncio { "redis_py_asyncio.py" } else { "redis_py.py" }, folders),
    }
}

/// The one that is played over TLS too.
pub const REDIS_PY: Library = redis_py(V8, false, false);

/// Writes the table, and a test for each of its rows.
macro_rules! libraries {
    ($($test:ident: $library:expr;)*) => {
        /// All of them, in the order of the page.
        pub const LIBRARIES: &[Library] = &[$($library),*];

        mod over_the_death_of_the_primary {
            use super::*;

            $(
                #[test]
                fn $test() {
                    crate::play(&$library, None);
                }
            )*
        }
    };
}

libraries! {
    redis_py_5: redis_py(V5, false, false);
    redis_py_5_hiredis: redis_py(V5, false, true);
    redis_py_5_asyncio: redis_py(V5, true, false);
    redis_py_5_asyncio_hiredis: redis_py(V5, true, true);
    redis_py_6: redis_py(V6, false, false);
    redis_py_6_hiredis: redis_py(V6, false, true);
    redis_py_6_asyncio: redis_py(V6, true, false);
    redis_py_6_asyncio_hiredis: redis_py(V6, true, true);
    redis_py_7: redis_py(V7, false, false);
    redis_py_7_hiredis: redis_py(V7, false, true);
    redis_py_7_asyncio: redis_py(V7, true, false);
    redis_py_7_asyncio_hiredis: redis_py(V7, true, true);
    redis_py_8: redis_py(V8, false, false);
    redis_py_8_hiredis: redis_py(V8, false, true);
    redis_py_8_asyncio: redis_py(V8, true, false);
    redis_py_8_asyncio_hiredis: redis_py(V8, true, true);
    valkey_glide_python: Library {
        name: "valkey-glide", version: "2.6.0", origin: "Python, PyPI `valkey-glide`", resp: 3, says: "GlidePy",
        set: PATIENT, runs: Runs::Python("valkey_glide.py", &["valkey-glide-2.6.0"]),
    };
    valkey_glide_node: Library {
        name: "valkey-glide-js", version: "2.5.2", origin: "Node.js, npm `@valkey/valkey-glide`", resp: 3,
        says: "GlideJS", set: PATIENT, runs: Runs::Node("valkey_glide.js", "valkey-glide-js-2.5.2"),
    };
    ioredis: Library {
        name: "ioredis", version: "5.9.2", origin: "Node.js, npm `ioredis`", resp: 2, says: "ioredis",
        set: "no retries, no reconnection", runs: Runs::Node("ioredis.js", "ioredis-js-5.9.2"),
    };
    node_redis_4: Library {
        name: "node-redis", version: "4.7.1", origin: "Node.js, npm `redis`", resp: 2, says: "node-redis",
        set: "no reconnection", runs: Runs::Node("node_redis.js", "redis-js-4.7.1"),
    };
    node_redis_5: Library {
        name: "node-redis", version: "5.9.0", origin: "Node.js, npm `redis`", resp: 2, says: "node-redis",
        set: "no reconnection", runs: Runs::Node("node_redis.js", "redis-js-5.9.0"),
    };
    redis_rs: Library {
        name: "redis-rs", version: "1.8.1", origin: "Rust, crate `redis`", resp: 2, says: "redis-rs",
        set: "response time-out 20 s, of 500 ms",
        runs: Runs::Built("clients-rust/debug/redis-rs"),
    };
    fred: Library {
        name: "fred", version: "10.1.0", origin: "Rust, crate `fred`", resp: 2, says: "",
        set: "", runs: Runs::Built("clients-rust/debug/fred"),
    };
    hiredis: Library {
        name: "hiredis", version: "0.14.1", origin: "C, Debian `libhiredis-dev`", resp: 2, says: "",
        set: "", runs: Runs::Built("clients/hiredis"),
    };
    redis_rb: Library {
        name: "redis-rb", version: "4.8.0", origin: "Ruby, Debian `ruby-redis`", resp: 2, says: "",
        set: "no reconnection", runs: Runs::Ruby("redis_rb.rb"),
    };
    phpredis: Library {
        name: "phpredis", version: "5.3.7", origin: "PHP, Debian `php-redis`", resp: 2, says: "",
        set: "no retries, no read time-out", runs: Runs::Php("phpredis.php"),
    };
    predis: Library {
        name: "predis", version: "1.1.10", origin: "PHP, Debian `php-predis`", resp: 2, says: "",
        set: "no read time-out", runs: Runs::Php("predis.php"),
    };
}
