//! As in the protocol's crate, which is not known here: what is locked is good between any two
//! statements, so that a lock whose holder panicked is taken all the same.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the mutex protects, whoever held it before.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
