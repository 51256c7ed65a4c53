//! Certificates, and the folders that they are kept in.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use super::proxy::ProxyOptions;
use super::server::scratch_folder;

/// Somebody who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, PEM.
#[derive(Clone)]
pub struct Certificate {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).expect("no name is a bad one");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("its own signature").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Its own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for these names and addresses.
    pub fn issue(&self, names: &[&str]) -> Certificate {
        self.issue_until(names, 4096)
    }

    /// One that expires when this year begins, in UTC.
    pub fn issue_until(&self, names: &[&str], year: i32) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names.clone()).expect("names");
        params.not_after = date_time_ymd(year, 1, 1);
        params.distinguished_name.push(DnType::CommonName, names.first().map_or("", String::as_str));
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a signature").pem();
        Certificate { cert, key: key.serialize_pem() }
    }
}

impl Certificate {
    /// Writes both files, each whole.
    pub fn write(&self, cert: &Path, key: &Path) {
        for (path, text) in [(cert, &self.cert), (key, &self.key)] {
            let new = PathBuf::from(format!("{}.new", path.display()));
            std::fs::write(&new, text).expect("the folder is writable");
            std::fs::rename(&new, path).expect("the folder is writable");
        }
    }
}

/// An authority and a certificate of its for a proxy on loopback, in a folder that is gone when this is dropped.
pub struct CertificateFolder {
    pub authority: Authority,
    path: PathBuf,
}

impl CertificateFolder {
    pub fn new() -> Self {
        let folder = Self { authority: Authority::new("tests"), path: scratch_folder("certificates") };
        std::fs::write(folder.at("ca.crt"), folder.authority.pem())
            .expect("the temporary folder is writable");
        folder.write("tls", &folder.authority.issue(&["127.0.0.1"]));
        folder
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes NAME.crt and NAME.key.
    pub fn write(&self, name: &str, certificate: &Certificate) {
        certificate.write(&self.at(&format!("{name}.crt")), &self.at(&format!("{name}.key")));
    }

    /// A proxy that shows the certificate.
    pub fn shown_by(&self, options: ProxyOptions) -> ProxyOptions {
        options
            .set("proxy.tls.cert", &format!("{:?}", self.at("tls.crt")))
            .set("proxy.tls.key", &format!("{:?}", self.at("tls.key")))
    }

    /// It asks nodes for a certificate of the authority, and shows one.
    pub fn asks_nodes(&self, options: ProxyOptions) -> ProxyOptions {
        options
            .set("backend.tls.ca", &format!("{:?}", self.at("ca.crt")))
            .set("backend.tls.cert", &format!("{:?}", self.at("tls.crt")))
            .set("backend.tls.key", &format!("{:?}", self.at("tls.key")))
    }

    /// It lets in only who shows a certificate of the authority.
    pub fn asked_by(&self, options: ProxyOptions) -> ProxyOptions {
        options.set("proxy.tls.client_ca", &format!("{:?}", self.at("ca.crt")))
    }
}

impl Drop for CertificateFolder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.path).ok();
    }
}
