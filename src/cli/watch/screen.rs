//! The terminal, who asks the endpoint, and who hears signals. Nothing is decided here.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use crate::admin::StatusBody;
use crate::cli::args::AdminUrl;
use crate::cli::program::Fault;
use crate::cli::status::{BEAT, asked, harmless, read};

use super::draw::draw;
use super::view::{Goes, View};

/// How long keys are waited for before what has come is shown.
const TURN: Duration = Duration::from_millis(100);

/// Pieces of news that nobody has looked at; whoever has more waits.
const NEWS_MAX: usize = 4;

/// What the other threads tell.
enum News {
    Answered(Box<StatusBody>),
    /// Why not.
    Failed(String),
    /// By this signal the process is to end.
    Ends(&'static str),
}

/// Shows the view until somebody ends it.
///
/// # Errors
/// The terminal cannot be used, or a signal has ended it.
pub(in crate::cli) fn watch(admin: &AdminUrl, token: Option<Zeroizing<String>>) -> Result<(), Fault> {
    let (told, news) = sync_channel(NEWS_MAX);
    let unready = |error: io::Error| Fault::Failed(format!("cannot begin the view: {error}"));
    hear_signals(told.clone()).map_err(unready)?;
    let asking = keep_asking(admin.clone(), token, told).map_err(unready)?;
    let mut terminal = Restored(ratatui::try_init().map_err(|error| {
        ratatui::restore();
        Fault::Failed(format!("cannot use the terminal: {error}"))
    })?);
    let mut view = View::new(admin.admin.clone(), Instant::now());
    show(&mut terminal.0, &mut view, &news, &asking)
}

/// The terminal is as it was when this is gone, whatever the way; at a panic before its words are written.
struct Restored(DefaultTerminal);

impl Drop for Restored {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn show(
    terminal: &mut DefaultTerminal,
    view: &mut View,
    news: &Receiver<News>,
    asking: &JoinHandle<()>,
) -> Result<(), Fault> {
    let lost = |error: io::Error| Fault::Failed(format!("the terminal is gone: {error}"));
    loop {
        terminal.draw(|frame| draw(view, frame, Instant::now())).map_err(lost)?;
        if event::poll(TURN).map_err(lost)?
            && let Event::Key(key) = event::read().map_err(lost)?
            && key.kind == KeyEventKind::Press
            && view.key(key) == Goes::Quits
        {
            return Ok(());
        }
        for it in news.try_iter() {
            match it {
                News::Answered(status) => view.answered(*status, Instant::now()),
                News::Failed(reason) => view.failed(reason, Instant::now()),
                News::Ends(signal) => return Err(Fault::Failed(format!("ended by {signal}"))),
            }
        }
        if asking.is_finished() {
            return Err(Fault::Failed("nobody asks the endpoint any more".to_owned()));
        }
    }
}

/// Asks each second, on a thread of its own: an endpoint that does not answer keeps no key waiting.
fn keep_asking(
    admin: AdminUrl,
    token: Option<Zeroizing<String>>,
    told: SyncSender<News>,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("asking".to_owned()).spawn(move || {
        let token = token.as_ref().map(|token| token.as_str());
        loop {
            let answer = asked(&admin, token).and_then(|body| read(&admin.admin, &body));
            let news = match answer {
                Ok(status) => News::Answered(Box::new(status)),
                Err(reason) => News::Failed(harmless(&reason)),
            };
            if told.send(news).is_err() {
                return;
            }
            thread::sleep(BEAT);
        }
    })
}

/// From now on the signals that end a process are told. Ctrl-C is a key while the view is shown.
fn hear_signals(told: SyncSender<News>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let guard = runtime.enter();
    let (mut terminate, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let mut interrupt = signal(SignalKind::interrupt())?;
    drop(guard);
    let hear = move || {
        let name = runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = hangup.recv() => "SIGHUP",
                _ = interrupt.recv() => "SIGINT",
            }
        });
        let _ = told.send(News::Ends(name));
    };
    thread::Builder::new().name("signals".to_owned()).spawn(hear).map(drop)
}
