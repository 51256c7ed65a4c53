//! The status page: `/api/status` as a person reads it. Whole without scripts; a script renews it each second.

use std::fmt::Write as _;

use super::status::{EpisodeBody, NodeBody, StatusBody};

/// What the page may load and run: nothing from elsewhere.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'";

const HEAD: &str = r#"<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Redhold</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<noscript><meta http-equiv="refresh" content="2"></noscript><style>
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b1f24;background:#fff}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}th,td{text-align:left;padding:.3rem .7rem;border-bottom:1px solid #d8dee4}
td.n{text-align:right;font-variant-numeric:tabular-nums}th{font-weight:600}h1 small{font-weight:400;color:#57606a}
.ok{color:#116329}.bad{color:#a40e26;font-weight:600}.stale{opacity:.4}code{font-family:ui-monospace,monospace}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th,td{border-color:#30363d}.ok{color:#3fb950}.bad{color:#ff7b72}}
</style></head><body>"#;

const SCRIPT: &str = "<script>setInterval(async()=>{const m=document.querySelector('main');try{const r=await fetch('/',{cache:'no-store'});\
const d=new DOMParser().parseFromString(await r.text(),'text/html');m.replaceWith(d.querySelector('main'))}\
catch(e){m.classList.add('stale')}},1000)</script></body></html>\n";

/// The page.
pub(super) fn render(status: &StatusBody) -> String {
    let mut page = String::from(HEAD);
    page.push_str("<main>");
    headline(&mut page, status);
    page.push_str("<h2>Nodes</h2><table id=\"nodes\"><tr><th>node</th><th>role</th><th>state</th><th>lag</th><th>staleness</th><th>ping</th><th>version</th><th>keys</th><th>remark</th></tr>");
    for node in &status.nodes {
        row(&mut page, node, status.primary.as_deref() == Some(&node.address));
    }
    page.push_str("</table>");
    if let Some(fault) = &status.record_unwritten {
        let _ = write!(page, "<p class=\"bad\" id=\"record\">{}</p>", escape(fault));
    }
    changed_settings(&mut page, status);
    lost(&mut page, status);
    page.push_str("<h2>Failovers</h2>");
    if status.episodes.is_empty() {
        page.push_str("<p>None since the proxy started.</p>");
    }
    for (index, episode) in status.episodes.iter().enumerate().rev() {
        timeline(&mut page, episode, index + 1 == status.episodes.len());
    }
    page.push_str("</main>");
    page.push_str(SCRIPT);
    page
}

fn headline(page: &mut String, status: &StatusBody) {
    let primary = status.primary.as_deref().unwrap_or("none yet");
    let (class, state) = match (&status.held, status.writable) {
        (Some(held), _) => ("bad", format!("writes held for {} ms: {}", held.for_ms, held.reason)),
        (None, true) => ("ok", "writable".to_owned()),
        (None, false) => ("bad", "not writable".to_owned()),
    };
    let _ = write!(
        page,
        "<h1>Redhold <small>{}</small></h1><p>Primary <code id=\"primary\">{}</code>, epoch <span id=\"epoch\">{}</span>, {}: \
         <span class=\"{class}\">{}</span>. {} clients, {} requests held.</p>",
        escape(&status.version),
        escape(primary),
        status.epoch,
        escape(&status.phase),
        escape(&state),
        status.clients,
        status.held_requests,
    );
    if status.degraded {
        page.push_str("<p class=\"bad\">Degraded: writes wait for no replica until enough are back.</p>");
    }
    if status.draining {
        page.push_str("<p class=\"bad\">This proxy is draining.</p>");
    }
    for brain in &status.other_brains {
        let _ =
            write!(page, "<p class=\"bad\">Only observing: another brain was heard: {}</p>", escape(brain));
    }
}

fn row(page: &mut String, node: &NodeBody, is_primary: bool) {
    let number = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
    let (class, state) = if node.up { ("ok", "up") } else { ("bad", "down") };
    let remarks = [&node.works_on, &node.remark, &node.error, &node.ineligible];
    let remarks: Vec<_> = remarks.into_iter().flatten().map(String::as_str).collect();
    let role = match (node.up, is_primary) {
        (false, _) => format!("was {}", node.role),
        (true, true) if node.role != "primary" => "primary by decision".to_owned(),
        (true, _) => node.role.clone(),
    };
    let _ = write!(
        page,
        "<tr><td><code>{}</code></td><td>{}</td><td class=\"{class}\">{state}</td><td class=\"n\">{}</td>\
         <td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
        escape(&node.address),
        escape(&role),
        number(node.lag_bytes.map(|bytes| format!("{bytes} B"))),
        number(node.staleness_ms.map(|age| format!("{age} ms"))),
        number(node.ping_us.map(|ping| format!("{ping} µs"))),
        escape(node.version.as_deref().unwrap_or("–")),
        number(node.keys.map(|keys| keys.to_string())),
        escape(&remarks.join("; ")),
    );
}

fn changed_settings(page: &mut String, status: &StatusBody) {
    if status.settings_changed.is_empty() {
        return;
    }
    page.push_str("<h2>Settings changed on nodes</h2><table><tr><th>node</th><th>setting</th><th>now</th><th>before</th></tr>");
    for s in &status.settings_changed {
        let cells = [&s.node, &s.name, &s.value, &s.before].map(|text| format!("<td>{}</td>", escape(text)));
        let _ = write!(page, "<tr>{}</tr>", cells.concat());
    }
    page.push_str("</table>");
}

fn lost(page: &mut String, status: &StatusBody) {
    if status.lost.is_empty() {
        return;
    }
    page.push_str("<h2>Unanswered when connections were lost, the likeliest cause first</h2><table id=\"lost\"><tr><th>node</th><th>when</th><th>request</th><th>waited</th></tr>");
    for (lost, request) in
        status.lost.iter().flat_map(|lost| lost.requests.iter().map(move |one| (lost, one)))
    {
        let twice = if request.sent_twice { ", sent twice" } else { "" };
        let waited = format!("{} ms{twice}", request.waited_ms);
        let cells = [&lost.node, &lost.at, &request.request, &waited]
            .map(|text| format!("<td>{}</td>", escape(text)));
        let _ = write!(page, "<tr>{}</tr>", cells.concat());
    }
    page.push_str("</table>");
}

fn timeline(page: &mut String, episode: &EpisodeBody, open: bool) {
    let none = "none".to_owned();
    let _ = write!(
        page,
        "<details{}><summary>{}: {}, {} → {}, epoch {} → {}, {} ms, writes held {} ms</summary><table>",
        if open { " open" } else { "" },
        escape(&episode.began),
        escape(&episode.kind.replace('_', " ")),
        escape(episode.primary_before.as_ref().unwrap_or(&none)),
        escape(episode.primary_after.as_ref().unwrap_or(&none)),
        episode.epoch_before,
        episode.epoch_after,
        episode.duration_ms,
        episode.held_ms,
    );
    for note in &episode.notes {
        let _ = write!(
            page,
            "<tr><td class=\"n\">+{} ms</td><td>{}</td><td>{}</td></tr>",
            note.after_ms,
            escape(&note.phase),
            escape(&note.text),
        );
    }
    page.push_str("</table></details>");
}

/// Text as HTML text or attribute: nodes and clients wrote some of it.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
