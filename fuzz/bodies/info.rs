//! Arbitrary bytes as what INFO said: facts are of somebody, and neither the ends of lines nor lines that nobody knows change them.

use redhold::control::facts;

/// See the module's text.
pub fn body(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let found = facts(&text);
    if let Some(facts) = &found {
        assert!(!facts.run_id.is_empty());
        assert!(!facts.run_id.contains('\n'));
        assert!(facts.primary.as_ref().is_none_or(|primary| primary.port != 0 && !primary.host.is_empty()));
    }
    assert_eq!(facts(&text.replace("\r\n", "\n")), found);
    assert_eq!(facts(&format!("# Section\r\nnobody_knows:it\r\n{text}")), found);
    assert_eq!(facts(&format!("{text}\r\nslave:ip=x,port=1\r\ndb:keys=7\r\nslavex:ip=x,port=1")), found);
}
