//! Certificates and keys in files, as what TLS sessions are made from; a file that changes is read again.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

/// More than any file of certificates holds.
const FILE_MAX: u64 = 1 << 20;

/// Where the proxy's side towards clients is kept, all of it PEM, and what it asks of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFiles {
    /// The proxy's certificate and those that it rests on.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities one of which a client's certificate must come from; `None`: clients show none.
    pub client_ca: Option<PathBuf>,
    /// Whether TLS 1.2 is refused.
    pub only_1_3: bool,
}

/// What the files held.
#[derive(PartialEq, Eq)]
struct Contents {
    cert: Vec<u8>,
    key: zeroize::Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
}

/// The side that accepts TLS: sessions are made from what the files held when they were last read well.
pub struct Server {
    files: ServerFiles,
    present: Mutex<Present>,
}

struct Present {
    config: Arc<ServerConfig>,
    contents: Contents,
    /// Why the files can not be read now.
    fault: Option<String>,
}

/// What looking at the files again brought.
#[derive(Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Nothing that was not known.
    AsBefore,
    /// They have changed, and are used from now on.
    Renewed,
    /// They can not be used, and what they held before is kept; said once.
    Faulty(String),
}

impl Server {
    /// Reads the files.
    ///
    /// # Errors
    /// Which file can not be used, and why.
    pub fn load(files: ServerFiles) -> Result<Self, String> {
        let contents = read(&files)?;
        let config = config_of(&files, &contents)?;
        Ok(Self { files, present: Mutex::new(Present { config, contents, fault: None }) })
    }

    /// What the next session is made from.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner).config.clone()
    }

    /// Looks at the files again. They are compared by what they hold: whatever way they were replaced, and when only one of
    /// them was replaced yet, so that they do not fit, the next look finds it.
    pub fn refresh(&self) -> Freshness {
        let read = read(&self.files);
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        if read.as_ref().is_ok_and(|contents| *contents == present.contents) {
            present.fault = None;
            return Freshness::AsBefore;
        }
        let made = read.and_then(|contents| Ok((config_of(&self.files, &contents)?, contents)));
        match made {
            Ok((config, contents)) => {
                *present = Present { config, contents, fault: None };
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

fn read(files: &ServerFiles) -> Result<Contents, String> {
    let read =
        |path: &Path| read_file(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
    Ok(Contents {
        cert: read(&files.cert)?,
        key: read(&files.key)?.into(),
        client_ca: files.client_ca.as_deref().map(read).transpose()?,
    })
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if fs::File::open(path)?.take(FILE_MAX + 1).read_to_end(&mut bytes)? as u64 > FILE_MAX {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1MiB"));
    }
    Ok(bytes)
}

fn config_of(files: &ServerFiles, contents: &Contents) -> Result<Arc<ServerConfig>, String> {
    let versions: &[&SupportedProtocolVersion] =
        if files.only_1_3 { &[&rustls::version::TLS13] } else { rustls::ALL_VERSIONS };
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(versions).map_err(|error| error.to_string())?;
    let builder = match files.client_ca.as_deref().zip(contents.client_ca.as_deref()) {
        Some((path, ca)) => builder.with_client_cert_verifier(verifier_of(path, ca)?),
        None => builder.with_no_client_auth(),
    };
    let chain = certificates(&files.cert, &contents.cert)?;
    let key = PrivateKeyDer::from_pem_slice(&contents.key)
        .map_err(|error| format!("{}: no private key: {error}", files.key.display()))?;
    let mut config = builder.with_single_cert(chain, key).map_err(|error| {
        format!("{} does not go with {}: {error}", files.key.display(), files.cert.display())
    })?;
    // Clients that come back all at once need not have their keys agreed on again. New with each change of the files: who
    // was let in by an authority that is trusted no more is asked again.
    config.ticketer = ring::Ticketer::new().map_err(|error| error.to_string())?;
    Ok(Arc::new(config))
}

fn verifier_of(path: &Path, ca: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, ca)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()))
        .build()
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// All in the file, of which there is at least one.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(chain) if chain.is_empty() => Err(format!("{}: no certificate", path.display())),
        Ok(chain) => Ok(chain),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate and its key, in a folder of the test's own.
    fn written(name: &str) -> ServerFiles {
        let folder = std::env::temp_dir().join(format!("redhold-tls-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let files = ServerFiles {
            cert: folder.join("tls.crt"),
            key: folder.join("tls.key"),
            ..ServerFiles::default()
        };
        write(&files);
        files
    }

    fn write(files: &ServerFiles) {
        let made = rcgen::generate_simple_self_signed(["redhold.test".to_owned()]).unwrap();
        fs::write(&files.cert, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    }

    fn fault_of(files: &ServerFiles) -> String {
        Server::load(files.clone()).err().expect("the files can not be used")
    }

    #[test]
    fn a_fault_names_its_file() {
        let files = written("faults");
        let (cert, key) = (files.cert.display().to_string(), files.key.display().to_string());
        let other = written("others");
        let foreign = ServerFiles { key: other.key.clone(), ..files.clone() };
        let text = fault_of(&foreign);
        assert!(
            text.contains(&other.key.display().to_string()) && text.contains("does not go with"),
            "{text}"
        );
        let swapped = ServerFiles { cert: files.key.clone(), key: files.cert.clone(), ..files.clone() };
        assert_eq!(fault_of(&swapped), format!("{key}: no certificate"));
        let no_authority = ServerFiles { client_ca: Some(files.key.clone()), ..files.clone() };
        assert_eq!(fault_of(&no_authority), format!("{key}: no certificate"));
        fs::write(&files.key, "no key").unwrap();
        assert!(fault_of(&files).starts_with(&format!("{key}: no private key")));
        fs::remove_file(&files.cert).unwrap();
        assert!(fault_of(&files).starts_with(&format!("cannot read {cert}: ")));
    }

    #[test]
    fn files_that_changed_are_used_and_those_that_can_not_be_are_told_once() {
        let files = written("fresh");
        let server = Server::load(files.clone()).unwrap();
        let first = server.config();
        assert_eq!(server.refresh(), Freshness::AsBefore);
        assert!(Arc::ptr_eq(&first, &server.config()));

        // The certificate has come, its key has not.
        let old_key = fs::read(&files.key).unwrap();
        write(&files);
        let new_key = fs::read(&files.key).unwrap();
        fs::write(&files.key, old_key).unwrap();
        assert!(matches!(server.refresh(), Freshness::Faulty(text) if text.contains("does not go with")));
        assert_eq!(server.refresh(), Freshness::AsBefore);
        assert!(Arc::ptr_eq(&first, &server.config()));

        fs::write(&files.key, new_key).unwrap();
        assert_eq!(server.refresh(), Freshness::Renewed);
        assert!(!Arc::ptr_eq(&first, &server.config()));
        assert_eq!(server.refresh(), Freshness::AsBefore);
    }
}
