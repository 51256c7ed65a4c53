//! What the proxy tells of what happened.

use crate::support::{LONG, Proxy, eventually};

/// The requests that the status names as unanswered when connections to this node were lost, the likeliest first.
pub fn named(proxy: &Proxy, node: impl std::fmt::Display) -> Vec<serde_json::Value> {
    let status = proxy.status();
    let lost = status["lost"].as_array().expect("a list of what was lost");
    let of_node = lost.iter().find(|one| one["node"] == node.to_string());
    of_node.and_then(|one| one["requests"].as_array().cloned()).unwrap_or_default()
}

/// Waits until writes go to a primary again and the state is quiet.
#[track_caller]
pub fn wait_steady(proxy: &Proxy) {
    eventually(LONG, "the group is steady and writable", || {
        let status = proxy.status();
        status["phase"] == "steady" && status["writable"] == true
    });
}
