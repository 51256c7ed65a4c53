//! Something made from files, and made anew when they change.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use super::expiry::{expiry_warning, first_expiry};

/// Files are looked at again after so long.
const FRESH_EVERY: Duration = Duration::from_secs(1);

/// More than any file of certificates holds.
const FILE_MAX: u64 = 1 << 20;

/// What a file held; overwritten when it is dropped, since it may be a key.
pub type Content = Zeroizing<Vec<u8>>;

/// Files, and what is made of them.
pub trait Files {
    /// What is made.
    type Made: Clone;

    /// Where they are.
    fn paths(&self) -> Vec<&Path>;

    /// Makes it of what the files hold, in the order of [`Self::paths`].
    ///
    /// # Errors
    /// Which file can not be used, and why.
    fn make(&self, contents: &[Content]) -> Result<Self::Made, String>;

    /// Of what the files hold, the certificates that are shown.
    fn shown<'a>(&self, contents: &'a [Content]) -> Option<&'a [u8]>;
}

/// What was made when the files were last read well.
pub struct Renewed<F: Files> {
    files: F,
    present: Mutex<Present<F::Made>>,
}

struct Present<M> {
    made: M,
    contents: Vec<Content>,
    /// When the first certificate that is shown expires, Unix time in seconds.
    expiry: Option<u64>,
    /// Why the files can not be used now.
    fault: Option<String>,
}

impl<M> Present<M> {
    fn new(files: &impl Files<Made = M>, contents: Vec<Content>) -> Result<Self, String> {
        let made = files.make(&contents)?;
        let expiry = files.shown(&contents).and_then(first_expiry);
        Ok(Self { made, contents, expiry, fault: None })
    }
}

/// What looking at the files again brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Nothing that was not known.
    AsBefore,
    /// They have changed, and are used from now on.
    Renewed,
    /// They can not be used, and what was made before is kept; said once.
    Faulty(String),
}

impl<F: Files> Renewed<F> {
    /// Reads the files.
    ///
    /// # Errors
    /// Which file can not be used, and why.
    pub fn load(files: F) -> Result<Self, String> {
        let contents = read(&files)?;
        let present = Present::new(&files, contents)?;
        Ok(Self { files, present: Mutex::new(present) })
    }

    /// When the first certificate that is shown expires, Unix time in seconds; `None`: none is shown, or none says when.
    pub fn expiry(&self) -> Option<u64> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner).expiry
    }

    /// Says in the log that a certificate of this section has expired, or will soon.
    pub fn warn_of_expiry(&self, section: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if let Some(warning) = self.expiry().and_then(|expiry| expiry_warning(expiry, now)) {
            tracing::warn!("{section}: {warning}");
        }
    }

    /// What was made last.
    #[must_use]
    pub fn made(&self) -> F::Made {
        self.present.lock().unwrap_or_else(PoisonError::into_inner).made.clone()
    }

    /// Looks at the files again. They are compared by what they hold: whatever way they were replaced, and when only one of
    /// them was replaced yet, so that they do not fit, the next look finds it.
    pub fn refresh(&self) -> Freshness {
        let read = read(&self.files);
        let present = || self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if read.as_ref().is_ok_and(|contents| *contents == present().contents) {
            present().fault = None;
            return Freshness::AsBefore;
        }
        // Who dials meanwhile does not wait for it.
        let made = read.and_then(|contents| Present::new(&self.files, contents));
        let mut present = present();
        match made {
            Ok(made) => {
                *present = made;
                Freshness::Renewed
            }
            Err(fault) if present.fault.as_ref() == Some(&fault) => Freshness::AsBefore,
            Err(fault) => {
                present.fault = Some(fault.clone());
                Freshness::Faulty(fault)
            }
        }
    }
}

/// Uses files of this section that are replaced, for as long as it is awaited.
pub async fn keep_fresh<F>(section: &str, renewed: Arc<Renewed<F>>)
where
    F: Files<Made: Send> + Send + Sync + 'static,
{
    loop {
        tokio::time::sleep(FRESH_EVERY).await;
        let looked_at = renewed.clone();
        // Where the files are may be slow.
        match tokio::task::spawn_blocking(move || looked_at.refresh()).await {
            Ok(Freshness::Renewed) => {
                tracing::info!("{section}: changed files are used from now on");
                renewed.warn_of_expiry(section);
            }
            Ok(Freshness::Faulty(fault)) => {
                tracing::error!("{section}: {fault}; what the files held before is kept");
            }
            Ok(Freshness::AsBefore) => {}
            Err(error) => return tracing::error!(%error, "certificates are looked at no more"),
        }
    }
}

impl<F: Files + std::fmt::Debug> std::fmt::Debug for Renewed<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Renewed").field(&self.files).finish()
    }
}

fn read(files: &impl Files) -> Result<Vec<Content>, String> {
    let read =
        |path: &Path| read_file(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    files.paths().into_iter().map(read).collect()
}

fn read_file(path: &Path) -> io::Result<Content> {
    let mut bytes = Content::default();
    if fs::File::open(path)?.take(FILE_MAX + 1).read_to_end(&mut bytes)? as u64 > FILE_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1MiB"));
    }
    Ok(bytes)
}
