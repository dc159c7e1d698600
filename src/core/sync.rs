//! Locking of mutexes that guard plain data.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, also after another thread panicked while it held the lock.
///
/// Use it only where each critical section leaves the data valid at every step, so that poisoning
/// adds nothing.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Mutex;

    use super::lock;

    #[test]
    fn lock_returns_the_data_after_a_panic_of_its_holder() {
        let mutex = Mutex::new(1);
        let holder = catch_unwind(AssertUnwindSafe(|| {
            let _guard = mutex.lock();
            panic!("poisons the mutex");
        }));
        assert!(holder.is_err() && mutex.is_poisoned());
        assert_eq!(*lock(&mutex), 1);
    }
}
