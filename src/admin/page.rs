//! The status page: one document that asks `/api/status` each second and draws what it says. Nothing of the group is in the
//! document itself, so it is the same for everybody.

/// The whole page.
pub(super) const PAGE: &str = concat!(
    include_str!("page/head.html"),
    "<style>",
    include_str!("page/page.css"),
    "</style>\n</head>\n",
    include_str!("page/body.html"),
    "<script type=\"module\">",
    include_str!("page/draw.js"),
    include_str!("page/topology.js"),
    include_str!("page/page.js"),
    "</script>\n</html>\n",
);

/// What the page may load and run: its own style and script by their SHA-256, `/api/status` and orders, and nothing else. What
/// would make markup of a text is forbidden to the script as well. A test says what has to stand here after a change.
pub(super) const POLICY: &str = "default-src 'none'; \
     style-src 'sha256-MheMCECflvVkHVfzu4kzK8xcMO8jMpXtUbJG/DsPT44='; \
     script-src 'sha256-0QcHqtHFlhtVWf2KJfyi3QRBPc67lCPjtvL9dCZ3xhs='; \
     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// As a policy names it. Coreutils know how; the proxy need not.
    fn digest(text: &str) -> String {
        let line = "sha256sum | cut -c 1-64 | tr a-f A-F | basenc --base16 -d | base64";
        let mut command = Command::new("sh");
        let mut child =
            command.args(["-c", line]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let out = child.wait_with_output().unwrap().stdout;
        format!("'sha256-{}'", String::from_utf8(out).unwrap().trim())
    }

    fn within<'a>(begin: &str, end: &str) -> Vec<&'a str> {
        PAGE.split(begin).skip(1).map(|rest| rest.split(end).next().unwrap()).collect()
    }

    #[test]
    fn the_policy_names_the_style_and_the_script() {
        for (directive, begin, end) in
            [("style-src", "<style>", "</style>"), ("script-src", "<script type=\"module\">", "</script>")]
        {
            let [text] = within(begin, end)[..] else { panic!("one {begin}") };
            let expected = format!("{directive} {};", digest(text));
            assert!(POLICY.contains(&expected), "POLICY has to say {expected}");
        }
    }

    #[test]
    fn the_page_asks_for_nothing_elsewhere_and_makes_no_markup_of_texts() {
        for word in ["http://", "https://", " src=", "<link rel=\"style", "@import", "url("] {
            assert!(!PAGE.contains(word), "{word}");
        }
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "DOMParser",
        ] {
            assert!(!PAGE.contains(word), "{word}");
        }
        assert!(!POLICY.contains("unsafe"));
    }

    #[test]
    fn who_runs_no_scripts_is_told_what_there_is() {
        let [told] = within("<noscript>", "</noscript>")[..] else { panic!("one noscript") };
        assert!(told.contains("/api/status") && told.contains("redhold status"), "{told}");
    }
}
