# shellcheck shell=bash
# Functions of the steps that need more than cargo and the Rust of this machine. To be sourced.

# Says loudly that a check did not take place.
skipped() {
    printf '\nSKIPPED: %s\n\n' "$*" >&2
}

# Whether this toolchain is here, or could be fetched.
toolchain() {
    RUSTUP_AUTO_INSTALL=0 cargo "+$1" --version >/dev/null 2>&1 ||
        timeout 120 rustup toolchain install "$1" --profile minimal --no-self-update >&2
}

# Whether Rust's libraries for this target are here, or could be fetched.
target() {
    test -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" || timeout 120 rustup target add "$1" >&2
}

# Installs this version of a cargo subcommand, if it is not here. Without optimisation that takes half the time.
subcommand() {
    cargo "${1#cargo-}" --version 2>/dev/null | grep -qwF "$2" ||
        cargo install --locked --quiet --debug --version "$2" "$1"
}
