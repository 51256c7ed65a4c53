//! Logs: one line each, on standard error, at a level that can be changed while the process runs.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{Layer, Registry, reload};

use super::{Format, Settings};

const LEVELS: [(&str, LevelFilter); 5] = [
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// Reads and changes the level of the process's log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LevelHandle {
    filter: reload::Handle<LevelFilter, Registry>,
}

impl LevelHandle {
    /// The level in force: error, warn, info, debug or trace.
    #[must_use]
    pub fn get(&self) -> &'static str {
        let present = self.filter.clone_current();
        LEVELS.iter().find(|(_, filter)| Some(*filter) == present).map_or("off", |(name, _)| name)
    }

    /// Changes the level for every line from now on.
    ///
    /// # Errors
    /// A sentence, when `level` is none of the five; the level is then unchanged.
    pub fn set(&self, level: &str) -> Result<(), String> {
        let filter = filter_of(level)?;
        self.filter.reload(filter).map_err(|error| format!("the log is gone: {error}"))
    }
}

#[cfg(test)]
impl LevelHandle {
    /// A handle to a filter that no log uses, for tests of those who hold one.
    pub(crate) fn unused() -> Self {
        let (filter, handle) = reload::Layer::new(LevelFilter::INFO);
        std::mem::forget::<reload::Layer<LevelFilter, Registry>>(filter);
        Self { filter: handle }
    }
}

/// Starts the process's log.
///
/// # Errors
/// A sentence, when the level is unknown or another log was started before.
pub fn init(settings: &Settings) -> Result<LevelHandle, String> {
    let terminal = std::io::stderr().is_terminal();
    let (subscriber, handle) = build(settings, terminal, std::io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|error| error.to_string())?;
    Ok(handle)
}

fn build<W>(
    settings: &Settings,
    terminal: bool,
    writer: W,
) -> Result<(impl tracing::Subscriber + Send + Sync + 'static, LevelHandle), String>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter_of(&settings.level)?);
    let json = match settings.format {
        Format::Json => true,
        Format::Text => false,
        Format::Auto => !terminal,
    };
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(terminal && !json);
    let lines = if json { lines.json().flatten_event(true).boxed() } else { lines.boxed() };
    Ok((Registry::default().with(filter).with(lines), LevelHandle { filter: handle }))
}

fn filter_of(level: &str) -> Result<LevelFilter, String> {
    let names = LEVELS.map(|(name, _)| name).join(", ");
    let found = LEVELS.iter().find(|(name, _)| *name == level);
    found.map(|(_, filter)| *filter).ok_or_else(|| format!("`{level}` is not a log level: {names}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is logged by `speak`, by a log with this format on or off a terminal.
    fn logged(format: Format, terminal: bool, speak: impl FnOnce(&LevelHandle)) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let settings = Settings { level: "info".to_owned(), format };
        let (subscriber, handle) = build(&settings, terminal, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || speak(&handle));
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn auto_is_text_on_a_terminal_and_json_elsewhere() {
        let speak = |_: &LevelHandle| tracing::info!(epoch = 7, "primary changed");
        let text = logged(Format::Auto, true, speak);
        assert!(text.contains("primary changed") && !text.starts_with('{'), "{text}");
        let json = logged(Format::Auto, false, speak);
        assert!(json.starts_with('{') && json.contains(r#""message":"primary changed","epoch":7"#), "{json}");
        assert_eq!(json.lines().count(), 1);
        assert!(!logged(Format::Text, false, speak).starts_with('{'));
        assert!(logged(Format::Json, true, speak).starts_with('{'));
    }

    #[test]
    fn the_level_changes_while_the_process_runs() {
        let text = logged(Format::Text, false, |handle| {
            assert_eq!(handle.get(), "info");
            tracing::debug!("before");
            handle.set("debug").unwrap();
            assert_eq!(handle.get(), "debug");
            tracing::debug!("after");
            assert!(handle.set("loud").unwrap_err().contains("`loud` is not a log level: error, warn"));
            assert_eq!(handle.get(), "debug");
        });
        assert!(!text.contains("before") && text.contains("after"), "{text}");
    }
}
