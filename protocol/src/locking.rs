//! Locks here protect data that is good between any two statements: critical sections are a few
//! moves, so one whose holder panicked is taken all the same.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the mutex protects, whoever held it before.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
