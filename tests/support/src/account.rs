//! Users: the one that runs the tests, and one that commands can run as.

use nix::unistd::{User, geteuid};

/// Whether the tests run as root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// The user that runs the tests.
pub fn me() -> User {
    User::from_uid(geteuid()).unwrap().unwrap()
}

/// The name of a user other than root that commands can run as: `nobody` for root, otherwise the user
/// that runs the tests.
pub fn ordinary_user() -> String {
    match is_root() {
        true => "nobody".to_owned(),
        false => me().name,
    }
}

/// The `PATH` of commands that run as a user, where nothing else is configured.
pub fn path_of(user: &User) -> &'static str {
    match user.uid.is_root() {
        true => "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        false => "/usr/local/bin:/usr/bin:/bin",
    }
}
