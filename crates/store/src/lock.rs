//! Locks a mutex, whether or not it is poisoned.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A poisoned lock is harmless: no code of this crate that holds one can leave its content inconsistent.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
