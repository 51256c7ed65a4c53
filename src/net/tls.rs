//! Certificates and keys, PEM in files, as what TLS sessions are made from: towards clients, who connect, and towards nodes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CipherSuiteCommon, ClientConfig, RootCertStore, ServerConfig, SupportedCipherSuite,
    SupportedProtocolVersion, Tls12CipherSuite,
};

use super::renewed::{Content, Files, Renewed};

/// The side that accepts TLS.
pub type TlsServer = Renewed<ServerFiles>;

/// The side that asks for it.
pub type TlsClient = Renewed<ClientFiles>;

/// Where the proxy's side towards clients is kept, and what it asks of them.
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

/// Where the proxy's side towards nodes is kept, and what it asks of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// Authorities one of which a node's certificate must come from.
    pub ca: PathBuf,
    /// The certificate that the proxy shows; empty: none.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The name that a node's certificate must carry; empty: the host that is dialled.
    pub server_name: String,
}

/// What a session with a node is made from.
#[derive(Clone, Debug)]
pub struct Dialect {
    pub(super) config: Arc<ClientConfig>,
    /// Whom the node has to be; `None`: the host that is dialled.
    pub(super) name: Option<ServerName<'static>>,
}

/// The algorithms of both sides.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || {
        let mut provider = ring::default_provider();
        provider.cipher_suites.iter_mut().for_each(|suite| *suite = without_end(*suite));
        Arc::new(provider)
    };
    PROVIDER.get_or_init(make).clone()
}

/// With AES-GCM rustls ends a TLS 1.2 session after 2^24 records, by half an hour of small replies, and without a word to us. What
/// OpenSSL and Go do not bound is not bound here either; the limit is one of records of 16 KiB each, and TLS 1.3 agrees on new keys.
fn without_end(suite: SupportedCipherSuite) -> SupportedCipherSuite {
    let SupportedCipherSuite::Tls12(suite) = suite else { return suite };
    let Tls12CipherSuite { common, prf_provider, kx, sign, aead_alg } = suite;
    let CipherSuiteCommon { suite, hash_provider, .. } = common;
    let common =
        CipherSuiteCommon { suite: *suite, hash_provider: *hash_provider, confidentiality_limit: u64::MAX };
    let (prf_provider, aead_alg) = (*prf_provider, *aead_alg);
    let copy = Tls12CipherSuite { common, prf_provider, kx: *kx, sign, aead_alg };
    // Once in the life of the process: rustls wants it for good.
    SupportedCipherSuite::Tls12(Box::leak(Box::new(copy)))
}

impl Files for ServerFiles {
    type Made = Arc<ServerConfig>;

    fn paths(&self) -> Vec<&Path> {
        [&self.cert, &self.key].into_iter().chain(&self.client_ca).map(PathBuf::as_path).collect()
    }

    fn make(&self, contents: &[Content]) -> Result<Self::Made, String> {
        let versions: &[&SupportedProtocolVersion] =
            if self.only_1_3 { &[&rustls::version::TLS13] } else { rustls::ALL_VERSIONS };
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(versions).map_err(|error| error.to_string())?;
        let builder = match self.client_ca.as_deref().zip(contents.get(2)) {
            Some((path, ca)) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(authorities(path, ca)?), provider());
                let verifier = verifier.build().map_err(|error| format!("{}: {error}", path.display()))?;
                builder.with_client_cert_verifier(verifier)
            }
            None => builder.with_no_client_auth(),
        };
        let (chain, key) = own(&self.cert, &contents[0], &self.key, &contents[1])?;
        let made = builder.with_single_cert(chain, key);
        let mut config = made.map_err(|error| unlike(&self.key, &self.cert, &error))?;
        if self.client_ca.is_some() {
            // Who resumes a session is not asked for its certificate again, which may have expired since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        } else {
            // Clients that come back all at once need not have their keys agreed on again.
            config.ticketer = ring::Ticketer::new().map_err(|error| error.to_string())?;
        }
        Ok(Arc::new(config))
    }

    fn shown<'a>(&self, contents: &'a [Content]) -> Option<&'a [u8]> {
        contents.first().map(|chain| chain.as_slice())
    }
}

impl Files for ClientFiles {
    type Made = Dialect;

    fn paths(&self) -> Vec<&Path> {
        let shown = [&self.cert, &self.key].into_iter().filter(|path| !path.as_os_str().is_empty());
        std::iter::once(&self.ca).chain(shown).map(PathBuf::as_path).collect()
    }

    fn make(&self, contents: &[Content]) -> Result<Self::Made, String> {
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
        let builder = builder.with_root_certificates(authorities(&self.ca, &contents[0])?);
        let config = match contents {
            [_, cert, key] => {
                let (chain, key) = own(&self.cert, cert, &self.key, key)?;
                let made = builder.with_client_auth_cert(chain, key);
                made.map_err(|error| unlike(&self.key, &self.cert, &error))?
            }
            _ => builder.with_no_client_auth(),
        };
        let name = match self.server_name.as_str() {
            "" => None,
            name => Some(named(name).map_err(|error| error.to_string())?),
        };
        Ok(Dialect { config: Arc::new(config), name })
    }

    fn shown<'a>(&self, contents: &'a [Content]) -> Option<&'a [u8]> {
        // Behind the authorities; without a certificate there is nothing else.
        contents.get(1).map(|chain| chain.as_slice())
    }
}

/// The name that a certificate has to carry.
///
/// # Errors
/// It is neither a name nor an address.
pub fn named(name: &str) -> std::io::Result<ServerName<'static>> {
    ServerName::try_from(name.to_owned()).map_err(|_| {
        let text = format!("`{name}` is neither a host name nor an address that a certificate can carry");
        std::io::Error::new(std::io::ErrorKind::InvalidInput, text)
    })
}

type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A certificate to show, and its key.
fn own(cert: &Path, chain: &[u8], key: &Path, pem: &[u8]) -> Result<Own, String> {
    let chain = certificates(cert, chain)?;
    let key = PrivateKeyDer::from_pem_slice(pem)
        .map_err(|error| format!("{}: no private key: {error}", key.display()))?;
    Ok((chain, key))
}

fn unlike(key: &Path, cert: &Path, error: &rustls::Error) -> String {
    format!("{} does not go with {}: {error}", key.display(), cert.display())
}

/// All in the file that can be used, of which there is at least one: a system's bundle may hold others.
fn authorities(path: &Path, pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(certificates(path, pem)?) {
        (0, _) => Err(format!("{}: no certificate of an authority", path.display())),
        _ => Ok(roots),
    }
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

/// Certificates for tests of this folder and of those above.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use std::fs;

    /// A certificate for this name, which is its own authority, and its key, in a folder of the test's own.
    pub(crate) fn written(test: &str, name: &str) -> ServerFiles {
        let folder = std::env::temp_dir().join(format!("redhold-tls-{}-{test}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let files = ServerFiles {
            cert: folder.join("tls.crt"),
            key: folder.join("tls.key"),
            ..ServerFiles::default()
        };
        write(&files, name);
        files
    }

    pub(super) fn write(files: &ServerFiles, name: &str) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        fs::write(&files.cert, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    }

    /// Both sides of a session with a node of this name.
    pub(crate) fn pair(test: &str, name: &str) -> (TlsServer, TlsClient) {
        let files = written(test, name);
        let client = ClientFiles { ca: files.cert.clone(), ..ClientFiles::default() };
        (TlsServer::load(files).unwrap(), TlsClient::load(client).unwrap())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Freshness;
    use super::testing::{write, written};
    use super::*;
    use std::fs;

    fn fault_of(files: &ServerFiles) -> String {
        TlsServer::load(files.clone()).expect_err("the files can not be used")
    }

    #[test]
    fn no_session_ends_after_a_number_of_records_without_new_keys() {
        let suites = &provider().cipher_suites;
        assert!(suites.iter().any(|suite| suite.tls13().is_some()));
        let older: Vec<_> = suites
            .iter()
            .filter_map(|suite| match suite {
                SupportedCipherSuite::Tls12(suite) => Some(suite.common.confidentiality_limit),
                SupportedCipherSuite::Tls13(_) => None,
            })
            .collect();
        assert!(older.len() >= 4 && older.iter().all(|limit| *limit == u64::MAX), "{older:?}");
    }

    #[test]
    fn who_has_to_show_a_certificate_has_to_each_time() {
        let mut files = written("each-time", "redhold.test");
        let free = TlsServer::load(files.clone()).unwrap().made();
        assert!(free.ticketer.enabled() && free.send_tls13_tickets > 0);
        files.client_ca = Some(files.cert.clone());
        let strict = TlsServer::load(files).unwrap().made();
        assert!(!strict.ticketer.enabled() && !strict.session_storage.can_cache());
        assert_eq!(strict.send_tls13_tickets, 0);
    }

    #[test]
    fn a_fault_names_its_file() {
        let files = written("faults", "redhold.test");
        let (cert, key) = (files.cert.display().to_string(), files.key.display().to_string());
        let other = written("others", "redhold.test");
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
        let files = written("fresh", "redhold.test");
        let server = TlsServer::load(files.clone()).unwrap();
        let first = server.made();
        assert_eq!(server.refresh(), Freshness::AsBefore);
        assert!(Arc::ptr_eq(&first, &server.made()));

        // The certificate has come, its key has not.
        let old_key = fs::read(&files.key).unwrap();
        write(&files, "redhold.test");
        let new_key = fs::read(&files.key).unwrap();
        fs::write(&files.key, old_key).unwrap();
        assert!(matches!(server.refresh(), Freshness::Faulty(text) if text.contains("does not go with")));
        assert_eq!(server.refresh(), Freshness::AsBefore);
        assert!(Arc::ptr_eq(&first, &server.made()));

        fs::write(&files.key, new_key).unwrap();
        assert_eq!(server.refresh(), Freshness::Renewed);
        assert!(!Arc::ptr_eq(&first, &server.made()));
        assert_eq!(server.refresh(), Freshness::AsBefore);
    }
}
