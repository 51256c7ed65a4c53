//! Arbitrary bytes as what is heard of other brains: on a channel, and as a line of CLIENT LIST. Whoever may publish on a node says
//! it, and people read it.

use redhold::control::Identity;

const CHANNELS: [&str; 3] = ["__sentinel__:hello", "__redhold:hello", "news"];

/// See the module's text.
pub fn body(data: &[u8]) {
    let us = Identity { instance: "0123456789abcdef".into() };
    let text = String::from_utf8_lossy(data);
    let heard = CHANNELS.iter().filter_map(|channel| us.other_speaker(channel, &text));
    let seen = us.others_connected(&text);
    for brain in heard.chain(seen) {
        let id = ["Sentinel ", "Redhold "].iter().find_map(|kind| brain.strip_prefix(kind));
        let id = id.unwrap_or_else(|| panic!("{brain:?} is of no kind"));
        assert!(id.len() <= 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{brain:?}");
        assert_ne!(id, &*us.instance);
    }
    assert_eq!(us.other_speaker("news", &text), None);
}
