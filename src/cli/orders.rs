//! Orders to a running proxy, with a confirmation of the result and its timeline.

use crate::admin::OrderBody;

use super::args::{AdminUrl, AdoptArgs, FailoverArgs, SwitchoverArgs, UpgradeArgs};
use super::http::{ask, encode, token_in};
use super::program::{Fault, print};
use super::status;

pub(super) fn switchover(args: &SwitchoverArgs) -> Result<(), Fault> {
    let to = args.to.as_ref().map_or_else(String::new, |to| format!("?to={}", encode(to)));
    order(&args.admin, &format!("/api/switchover{to}"))
}

pub(super) fn failover(args: &FailoverArgs) -> Result<(), Fault> {
    let to = args.to.as_ref().map_or_else(String::new, |to| format!("&to={}", encode(to)));
    order(&args.admin, &format!("/api/failover?force={}{to}", args.force))
}

pub(super) fn adopt(args: &AdoptArgs) -> Result<(), Fault> {
    order(&args.admin, &format!("/api/adopt?to={}", encode(&args.node)))
}

pub(super) fn upgrade(args: &UpgradeArgs) -> Result<(), Fault> {
    order(&args.admin, "/api/upgrade")
}

fn order(admin: &AdminUrl, path: &str) -> Result<(), Fault> {
    let token = admin.token_file.as_deref().map(token_in).transpose().map_err(Fault::Failed)?;
    let token = token.as_ref().map(|token| token.as_str());
    let answer = ask(admin, token, "POST", path, "").map_err(Fault::Failed)?;
    let Ok(order) = serde_json::from_str::<OrderBody>(&answer.body) else {
        return Err(Fault::Failed(format!("refused with {}: {}", answer.code, answer.body.trim_end())));
    };
    let mut text = String::new();
    if let Some(episode) = &order.episode {
        status::timeline(&mut text, episode);
    }
    if order.ok {
        text.push_str(&order.answer);
        text.push('\n');
        return print(&text);
    }
    print(&text)?;
    // A node that does not exist is the fault of the one who asked.
    Err(if answer.code == 400 { Fault::Usage(order.answer) } else { Fault::Failed(order.answer) })
}
