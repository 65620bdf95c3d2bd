//! Descriptors the core was started with, by number: `{"fd": 4}` in a sink or source.

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_getfd};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

/// The wire and stderr are not for lending.
const FIRST: RawFd = 3;

/// A copy of an inherited descriptor; the original stays open for others who name it.
///
/// # Errors
/// It is not open, is our own, or is below 3.
#[allow(
    unsafe_code,
    reason = "a number from a frontend becomes a descriptor here and nowhere else"
)]
pub(crate) fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    if number < FIRST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "descriptors 0 to 2 are the core's own",
        ));
    }
    // SAFETY: the descriptor is only asked whether it is open and inherited, and then copied. If
    // it is not open, both calls fail without touching anything.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    // Whatever the core opened itself is close-on-exec; what it was started with is not.
    if fcntl_getfd(descriptor)?.contains(FdFlags::CLOEXEC) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not an inherited descriptor"));
    }
    Ok(fcntl_dupfd_cloexec(descriptor, FIRST)?)
}
