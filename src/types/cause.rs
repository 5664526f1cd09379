//! The reason of an error of the system, in one form for all messages.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io;

use nix::errno::Errno;

/// Reason of an error as the system gives it, such as `No such file or directory`, without the number of the error.
/// An error that wraps one of the system has the reason of that.
pub fn cause(error: &(dyn Error + 'static)) -> String {
    let mut next = Some(error);
    while let Some(error) = next {
        let of_system = error.downcast_ref::<io::Error>();
        let errno = of_system.and_then(|error| error.raw_os_error().map(Errno::from_raw));
        if let Some(errno) = errno.or(error.downcast_ref().copied()) {
            return errno.desc().to_owned();
        }
        next = match of_system.and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_has_no_number_even_if_the_error_is_wrapped() {
        let error = || io::Error::from_raw_os_error(2);
        for error in [
            error(),
            io::Error::other(error()),
            io::Error::other(io::Error::other(error())),
        ] {
            assert_eq!(cause(&error), "No such file or directory");
        }
        assert_eq!(cause(&Errno::ENOENT), "No such file or directory");
        assert_eq!(cause(&io::Error::other("full")), "full");
    }
}
