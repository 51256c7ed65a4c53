//! Until when certificates are good.

use std::sync::Arc;
use std::time::Duration;

use der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use der::{Decode as _, SliceReader, Tag, Tagged as _};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::tls::{TlsClient, TlsServer};

/// Who has to renew a certificate is warned so long before.
const WARNED_BEFORE: Duration = Duration::from_secs(14 * DAY);

const DAY: u64 = 24 * 60 * 60;

/// Those that the proxy shows: to clients, to nodes, and to operators.
#[derive(Clone, Debug, Default)]
pub struct Certificates {
    /// `[proxy.tls]`
    pub proxy: Option<Arc<TlsServer>>,
    /// `[backend.tls]`
    pub backend: Option<Arc<TlsClient>>,
    /// `[admin.tls]`
    pub admin: Option<Arc<TlsServer>>,
}

impl Certificates {
    /// Each section, and the Unix time, in seconds, at which the first certificate of its chain in use expires; `None`: it shows
    /// none, or none says until when it is good.
    #[must_use]
    pub fn expiries(&self) -> [(&'static str, Option<u64>); 3] {
        [
            ("proxy.tls", self.proxy.as_ref().and_then(|shown| shown.expiry())),
            ("backend.tls", self.backend.as_ref().and_then(|shown| shown.expiry())),
            ("admin.tls", self.admin.as_ref().and_then(|shown| shown.expiry())),
        ]
    }
}

/// When the first certificate of a chain, PEM, expires: Unix time in seconds.
pub(super) fn first_expiry(chain: &[u8]) -> Option<u64> {
    let certificates = CertificateDer::pem_slice_iter(chain).filter_map(Result::ok);
    certificates.filter_map(|certificate| not_after(&certificate).ok()).min().map(|end| end.as_secs())
}

/// The end of a certificate's validity (RFC 5280, 4.1), since 1970. What stands before it is only stepped over: whether a
/// certificate can be used is not decided here.
fn not_after(certificate: &[u8]) -> der::Result<Duration> {
    let whole = AnyRef::from_der(certificate)?;
    let signed = AnyRef::decode(&mut SliceReader::new(whole.value())?)?;
    let mut fields = SliceReader::new(signed.value())?;
    let first = AnyRef::decode(&mut fields)?;
    // The version stands before the serial number, and in none of version 1.
    let others = if first.tag().is_context_specific() { 3 } else { 2 };
    for _ in 0..others {
        AnyRef::decode(&mut fields)?;
    }
    let validity = AnyRef::decode(&mut fields)?;
    let mut times = SliceReader::new(validity.value())?;
    AnyRef::decode(&mut times)?;
    match Tag::peek(&times)? {
        Tag::UtcTime => UtcTime::decode(&mut times).map(|time| time.to_unix_duration()),
        _ => GeneralizedTime::decode(&mut times).map(|time| time.to_unix_duration()),
    }
}

/// What an operator should know of a certificate that expires at this Unix time.
#[must_use]
pub fn expiry_warning(expiry: u64, now: u64) -> Option<String> {
    let days = |seconds: u64| match seconds / DAY {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    };
    match expiry.checked_sub(now) {
        None | Some(0) => Some(format!("its certificate expired {} ago", days(now - expiry))),
        Some(left) if left <= WARNED_BEFORE.as_secs() => {
            Some(format!("its certificate expires in {}", days(left)))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    fn until(year: i32) -> String {
        let mut params = CertificateParams::new(vec!["redhold.test".to_owned()]).unwrap();
        params.not_before = date_time_ymd(1975, 1, 1);
        params.not_after = date_time_ymd(year, 1, 2);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    #[test]
    fn the_first_to_expire_counts_in_either_form_of_time() {
        let (old, near, far) = (until(1999), until(2031), until(2051));
        assert_eq!(first_expiry(near.as_bytes()), Some(1_925_078_400));
        assert_eq!(first_expiry(far.as_bytes()), Some(2_556_230_400));
        assert_eq!(first_expiry(old.as_bytes()), Some(915_235_200));
        for chain in [[&*far, &near].concat(), [&*near, &far].concat()] {
            assert_eq!(first_expiry(chain.as_bytes()), Some(1_925_078_400));
        }
        assert_eq!(first_expiry(b""), None);
    }

    #[test]
    fn what_is_cut_off_or_changed_has_no_end_and_is_no_panic() {
        let whole = CertificateDer::from_pem_slice(until(2031).as_bytes()).unwrap();
        for length in 0..whole.len() {
            assert!(not_after(&whole[..length]).is_err(), "{length}");
        }
        for at in 0..whole.len() {
            for byte in [0, 0x7f, 0x80, 0xff] {
                let mut changed = whole.to_vec();
                changed[at] = byte;
                not_after(&changed).ok();
            }
        }
    }

    #[test]
    fn who_has_two_weeks_or_less_is_warned() {
        let now = 1_000 * DAY;
        assert_eq!(expiry_warning(now + 14 * DAY + 1, now), None);
        let warned = |expiry| expiry_warning(expiry, now).unwrap();
        assert_eq!(warned(now + 14 * DAY), "its certificate expires in 14 days");
        assert_eq!(warned(now + 1), "its certificate expires in less than a day");
        assert_eq!(warned(now), "its certificate expired less than a day ago");
        assert_eq!(warned(now - DAY), "its certificate expired 1 day ago");
        assert_eq!(warned(now - 3 * DAY), "its certificate expired 3 days ago");
    }
}
