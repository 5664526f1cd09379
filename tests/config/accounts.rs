//! Users and groups of commands and engines.

use nix::unistd::User;

use crate::site::{LISTENER, Site, host, skipped_as_root, skipped_without_root, user, with_host};
use tlssrv_testing::account::me;

/// A table whose host has these lines in place of its user.
fn with_user(lines: &str) -> String {
    format!(
        "{LISTENER}{}{lines}\n",
        host("a.example").replace(user(), "")
    )
}

#[test]
fn unknown_users_and_groups_are_refused() {
    let site = Site::new();
    site.check(&with_user("user = \"no-such-user\""))
        .refuses("user =", "unknown user \"no-such-user\"");
    site.check(&with_host("group = \"no-such-group\""))
        .refuses("group =", "unknown group \"no-such-group\"");
    site.check(&with_host("groups = [\"no-such-group\"]"))
        .refuses("groups =", "unknown group \"no-such-group\"");
}

#[test]
fn a_command_runs_as_root_only_with_allow_root() {
    if skipped_without_root() {
        return;
    }
    let site = Site::new();
    let message = "the command would run as root: give it a user, or allow-root = true";
    site.check(&with_user("")).refuses("[[host]]", message);
    site.check(&with_user("user = \"root\""))
        .refuses("\"root\"", message);
    site.check(&with_user("allow-root = true")).is_fine();
    site.check(&with_user("user = \"root\"\nallow-root = true"))
        .is_fine();
    site.check(&with_user(
        "user = \"nobody\"\ngroup = \"root\"\ngroups = [\"root\"]",
    ))
    .is_fine();
}

#[test]
fn only_root_can_give_a_command_another_user_or_group() {
    if skipped_as_root() {
        return;
    }
    let site = Site::new();
    let me = me().name;
    site.check(&with_user(&format!("user = \"{me}\"")))
        .is_fine();
    let message = "unable to change the command's group: tlssrv does not run as root";
    site.check(&with_user("group = \"root\""))
        .refuses("group =", message);
    if me != "daemon" {
        let message = "unable to change the command's user: tlssrv does not run as root";
        site.check(&with_user("user = \"daemon\""))
            .refuses("user =", message);
    }
}

#[test]
fn the_user_of_engines_exists_and_is_not_root() {
    if skipped_without_root() {
        return;
    }
    let site = Site::new();
    let text = |name: &str| format!("engine-user = \"{name}\"\n{}", with_host(""));
    site.check(&text("nobody")).is_fine();
    site.check(&text("no-such-user"))
        .refuses("engine-user", "unknown user \"no-such-user\"");
    site.check(&text("root"))
        .refuses("engine-user", "engines must not run as root");
    if User::from_name("tlssrv").unwrap().is_none() {
        let outcome = site.check(&with_host(""));
        let notice = "notice: no user \"tlssrv\": engines run as \"nobody\"";
        assert!(outcome.is_fine().stderr.contains(notice));
    }
}

#[test]
fn only_root_can_give_engines_a_user() {
    if skipped_as_root() {
        return;
    }
    let text = format!("engine-user = \"nobody\"\n{}", with_host(""));
    let message = "engine-user is ignored: tlssrv does not run as root";
    Site::new().check(&text).warns("engine-user", message);
}
