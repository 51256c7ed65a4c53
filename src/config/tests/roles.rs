//! `[[admin.roles]]`: what is taken and what is refused, without a word of a token.

use super::{Secret, faults, read, said};
use crate::admin::{Grant, ROLES_MAX, TokenFile, TokenRole};

const TOKENS: [&str; 3] = ["0123456789abcdef-1", "0123456789abcdef-2", "0123456789abcdef-3"];

fn files(of: &str) -> [Secret; 3] {
    [0, 1, 2].map(|at| Secret::new(&format!("roles-{of}-{at}"), &format!("{}\n", TOKENS[at])))
}

fn row(name: &str, file: &Secret, role: &str) -> String {
    format!("[[admin.roles]]\nname = \"{name}\"\ntoken_file = {:?}\nrole = \"{role}\"\n", file.0)
}

fn grant(name: &str, file: &Secret, role: TokenRole) -> Grant {
    Grant { name: name.to_owned(), token: TokenFile::new(file.0.clone()).unwrap(), role }
}

#[test]
fn each_role_has_a_name_a_file_and_what_it_may() {
    let [whole, ops, view] = files("each");
    let alone = read(&row("ops", &ops, "operator")).unwrap().admin;
    assert_eq!((alone.token, alone.roles), (None, vec![grant("ops", &ops, TokenRole::Operator)]));
    let text = format!("[admin]\ntoken_file = {:?}\n", whole.0);
    let both = format!("{text}{}{}", row("ops", &ops, "admin"), row("view", &view, "viewer"));
    let wanted = vec![grant("ops", &ops, TokenRole::Admin), grant("view", &view, TokenRole::Viewer)];
    let both = read(&both).unwrap().admin;
    assert_eq!((both.token, both.roles), (Some(TokenFile::new(whole.0.clone()).unwrap()), wanted));
    // In one line, as any list of tables.
    let inline =
        format!("{text}roles = [{{ name = \"ops\", token_file = {:?}, role = \"viewer\" }}]\n", ops.0);
    assert_eq!(read(&inline).unwrap().admin.roles, [grant("ops", &ops, TokenRole::Viewer)]);
    assert_eq!(read("[admin]\nroles = []\n").unwrap().admin.roles, []);
}

#[test]
fn what_is_no_role_is_refused_with_its_key_and_line() {
    let [one, two, copy] = files("faulty");
    std::fs::write(&copy.0, TOKENS[0]).unwrap();
    let (empty, short) = (Secret::new("roles-empty", ""), Secret::new("roles-short", "0123456789"));
    let of = |file: &Secret| file.0.display().to_string();
    let first = row("ops", &one, "operator");
    let whole = format!("[admin]\ntoken_file = {:?}\n", one.0);
    let no_token = "a token has 16 to 4096 characters, as `openssl rand -hex 32` makes it";
    for (text, fault) in [
        (
            row("ops", &one, "root"),
            "role: `root` is not one of viewer, operator, restorer, admin (line 4)".to_owned(),
        ),
        (
            row("ops", &one, "restorer"),
            "role: `restorer` is not yet supported: there is no archive to restore from (line 4)".to_owned(),
        ),
        (row("", &one, "viewer"), "name: is empty (line 2)".to_owned()),
        (row("a b", &one, "viewer"), "name: has a space or a control character in it (line 2)".to_owned()),
        (row(&"a".repeat(65), &one, "viewer"), "name: is longer than 64 bytes (line 2)".to_owned()),
        (row("ops", &empty, "viewer"), format!("token_file: `{}`: {no_token} (line 3)", of(&empty))),
        (row("ops", &short, "viewer"), format!("token_file: `{}`: {no_token} (line 3)", of(&short))),
        (
            format!("{first}{}", row("ops", &two, "viewer")),
            "name: `ops` is listed already (line 6)".to_owned(),
        ),
        (
            format!("{first}{}", row("view", &one, "viewer")),
            format!(
                "token_file: `{}` is the file of `ops` too; each needs one of its own (line 7)",
                of(&one)
            ),
        ),
        (
            format!("{first}{}", row("view", &copy, "viewer")),
            format!(
                "token_file: `{}`: `ops` has the same token; each needs one of its own (line 7)",
                of(&copy)
            ),
        ),
        (
            format!("{whole}{first}"),
            format!(
                "token_file: `{}` is the file of admin.token_file too; each needs one of its own (line 5)",
                of(&one)
            ),
        ),
        (
            format!("{whole}{}", row("view", &copy, "viewer")),
            format!(
                "token_file: `{}`: admin.token_file has the same token; each needs one of its own (line 5)",
                of(&copy)
            ),
        ),
    ] {
        let at = text.matches("[[admin.roles]]").count() - 1;
        let told = faults(&text);
        assert_eq!(told, format!("admin.roles[{at}].{fault}"));
        assert!(!told.contains("0123456789"), "{told}");
    }
    let missing = first.replace("role = \"operator\"\n", "");
    assert_eq!(faults(&missing), "admin.roles[0]: has no role: write role = \"operator\" (line 1)");
    let none = first.replace(&of(&one), "/no/such");
    let told = faults(&none);
    assert!(told.starts_with("admin.roles[0].token_file: cannot read `/no/such`: "), "{told}");
    assert_eq!(
        faults(&format!("{first}roles = 1\n")),
        "admin.roles[0].roles: unknown key; did you mean `role`? (line 5)"
    );
}

#[test]
fn no_role_is_called_as_the_whole_token_is() {
    let [file, ..] = files("whole");
    let told = faults(&row("admin.token_file", &file, "viewer"));
    assert!(told.starts_with("admin.roles[0].name: `admin.token_file` is how the log calls"), "{told}");
}

#[test]
fn there_are_so_many_roles_at_most() {
    let names: Vec<String> = (0..=ROLES_MAX).map(|at| format!("role-{at}")).collect();
    let files: Vec<Secret> =
        names.iter().map(|name| Secret::new(name, &format!("0123456789abcdef-{name}"))).collect();
    let rows: Vec<String> = names.iter().zip(&files).map(|(name, file)| row(name, file, "viewer")).collect();
    assert_eq!(read(&rows[1..].concat()).unwrap().admin.roles.len(), ROLES_MAX);
    assert_eq!(faults(&rows.concat()), "admin.roles: 17 roles, more than 16 (line 1)");
}

#[test]
fn another_role_takes_a_restart_and_another_token_takes_nothing() {
    let [_, ops, _] = files("reload");
    let [first, other] = ["operator", "viewer"].map(|role| row("ops", &ops, role));
    assert_eq!(
        said("roles", &first, &other),
        "admin.roles waits for an upgrade in place (`redhold upgrade`) or a restart"
    );
    assert_eq!(
        said("roles-none", "", &first),
        "admin.roles waits for an upgrade in place (`redhold upgrade`) or a restart"
    );
    assert_eq!(said("roles-same", &first, &format!("\n{first}")), "nothing has changed");
}
