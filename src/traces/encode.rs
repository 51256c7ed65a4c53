//! OTLP's JSON: ids in hexadecimal, numbers of 64 bits as texts, enumerations as numbers. Pure.

use std::fmt::Write as _;

use super::span::{Attributes, Span, Value};

/// `STATUS_CODE_ERROR`
const FAILED: u8 = 2;

/// A whole ExportTraceServiceRequest. `instance`: of the process.
pub(super) fn export(spans: &[Span<'_>], instance: &str) -> String {
    // What a span takes, about.
    let mut out = String::with_capacity(1_024 + spans.len() * 900);
    let version = env!("CARGO_PKG_VERSION");
    let about: Attributes<'_> = vec![
        ("service.name", "redhold".into()),
        ("service.version", version.into()),
        ("service.instance.id", instance.into()),
    ];
    out.push_str(r#"{"resourceSpans":[{"resource":{"attributes":"#);
    attributes(&mut out, &about);
    let _ = write!(out, r#"}},"scopeSpans":[{{"scope":{{"name":"redhold","version":"{version}"}},"spans":["#);
    for (index, span) in spans.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        one(&mut out, span);
    }
    out.push_str("]}]}]}");
    out
}

fn one(out: &mut String, span: &Span<'_>) {
    let _ = write!(out, r#"{{"traceId":"{:032x}","spanId":"{:016x}","#, span.trace, span.id);
    if let Some(parent) = span.parent {
        let _ = write!(out, r#""parentSpanId":"{parent:016x}","#);
    }
    out.push_str(r#""name":"#);
    text(out, &span.name);
    let (kind, start, end) = (span.kind as u8, span.start, span.end);
    let _ = write!(
        out,
        r#","kind":{kind},"startTimeUnixNano":"{start}","endTimeUnixNano":"{end}","attributes":"#
    );
    attributes(out, &span.attributes);
    if !span.events.is_empty() {
        out.push_str(r#","events":["#);
        for (index, event) in span.events.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let _ = write!(out, r#"{comma}{{"timeUnixNano":"{}","name":"#, event.at);
            text(out, event.name);
            out.push('}');
        }
        out.push(']');
    }
    if span.failed {
        let _ = write!(out, r#","status":{{"code":{FAILED}}}"#);
    }
    out.push('}');
}

fn attributes(out: &mut String, attributes: &Attributes<'_>) {
    out.push('[');
    for (index, (key, value)) in attributes.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(out, r#"{comma}{{"key":"{key}","value":{{"#);
        match value {
            Value::Text(said) => {
                out.push_str(r#""stringValue":"#);
                text(out, said);
            }
            Value::Number(number) => {
                let _ = write!(out, r#""intValue":"{number}""#);
            }
            Value::Flag(flag) => {
                let _ = write!(out, r#""boolValue":{flag}"#);
            }
        }
        out.push_str("}}");
    }
    out.push(']');
}

/// In quotes.
fn text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if u32::from(c) < 0x20 => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::super::ids::Ids;
    use super::super::request::tests::request;
    use super::super::span::{Event, Kind};
    use super::*;

    #[test]
    fn a_request_is_written_so() {
        let (request, mut spans) = (request(), Vec::new());
        request.append(&mut Ids::new(7), &mut spans);
        let [root, held, node] = [0, 1, 2].map(|at: usize| format!("{:016x}", spans[at].id));
        let trace = format!("{:032x}", spans[0].trace);
        let version = env!("CARGO_PKG_VERSION");
        let common = r#"{"key":"db.system.name","value":{"stringValue":"redis"}},{"key":"db.operation.name","value":{"stringValue":"HGET"}},{"key":"db.namespace","value":{"stringValue":"3"}},{"key":"error.type","value":{"stringValue":"WRONGTYPE"}},{"key":"db.response.status_code","value":{"stringValue":"WRONGTYPE"}}"#;
        let expected = [
            r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"redhold"}},"#,
            &format!(r#"{{"key":"service.version","value":{{"stringValue":"{version}"}}}},"#),
            r#"{"key":"service.instance.id","value":{"stringValue":"me"}}]},"#,
            &format!(r#""scopeSpans":[{{"scope":{{"name":"redhold","version":"{version}"}},"spans":["#),
            &format!(r#"{{"traceId":"{trace}","spanId":"{root}","name":"HGET","kind":2,"#),
            r#""startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000003250000","attributes":["#,
            common,
            r#",{"key":"server.address","value":{"stringValue":"10.0.0.1"}},{"key":"server.port","value":{"intValue":"6380"}},"#,
            r#"{"key":"client.address","value":{"stringValue":"10.0.0.9"}},{"key":"client.port","value":{"intValue":"41000"}},"#,
            r#"{"key":"user.name","value":{"stringValue":"app"}}],"status":{"code":2}},"#,
            &format!(
                r#"{{"traceId":"{trace}","spanId":"{held}","parentSpanId":"{root}","name":"held","kind":1,"#
            ),
            r#""startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000003000000","attributes":[]},"#,
            &format!(
                r#"{{"traceId":"{trace}","spanId":"{node}","parentSpanId":"{root}","name":"HGET","kind":3,"#
            ),
            r#""startTimeUnixNano":"1700000000003000000","endTimeUnixNano":"1700000000003250000","attributes":["#,
            common,
            r#",{"key":"server.address","value":{"stringValue":"10.0.1.2"}},{"key":"server.port","value":{"intValue":"6379"}},"#,
            r#"{"key":"redhold.node.role","value":{"stringValue":"primary"}}],"status":{"code":2}}]}]}]}"#,
        ];
        assert_eq!(export(&spans, "me"), expected.concat());
    }

    #[test]
    fn any_text_is_json() {
        let name = "a \"b\" \\ c\r\n\u{1}\u{7f} ü \u{2028}";
        let span = Span {
            trace: 1,
            id: 2,
            parent: None,
            name: name.into(),
            kind: Kind::Internal,
            start: 0,
            end: u64::MAX,
            attributes: vec![("n", Value::Number(i64::MIN)), ("f", Value::Flag(true)), ("t", name.into())],
            events: vec![Event { at: 5, name }, Event { at: 6, name: "" }],
            failed: false,
        };
        let json: serde_json::Value = serde_json::from_str(&export(&[span], name)).expect("JSON");
        let span = &json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(span["traceId"], "00000000000000000000000000000001");
        assert_eq!(
            (span["spanId"].as_str(), &span["parentSpanId"]),
            (Some("0000000000000002"), &serde_json::Value::Null)
        );
        assert_eq!(
            (span["name"].as_str(), span["endTimeUnixNano"].as_str()),
            (Some(name), Some("18446744073709551615"))
        );
        assert_eq!(span["attributes"][0]["value"]["intValue"], "-9223372036854775808");
        assert_eq!(span["attributes"][1]["value"]["boolValue"], true);
        assert_eq!(span["attributes"][2]["value"]["stringValue"].as_str(), Some(name));
        assert_eq!(
            (span["events"][0]["name"].as_str(), span["events"][1]["timeUnixNano"].as_str()),
            (Some(name), Some("6"))
        );
        assert_eq!(
            json["resourceSpans"][0]["resource"]["attributes"][2]["value"]["stringValue"].as_str(),
            Some(name)
        );
        let empty: serde_json::Value = serde_json::from_str(&export(&[], "")).expect("JSON");
        assert_eq!(empty["resourceSpans"][0]["scopeSpans"][0]["spans"], serde_json::json!([]));
    }
}
