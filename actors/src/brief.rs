//! A lock for moments: letting go of it is a plain store, which a locked instruction would outweigh where so little is done between.

use std::{ops::DerefMut, time::Duration};

use try_lock::TryLock;

/// So often whoever finds it taken looks again soon, each time after twice as long: far longer than it is ever held by a thread that
/// runs. Each look takes the line from the holder's cache, and holds him up.
const SPINS: u32 = 8;

/// So often the processor is then offered to others: its holder may wait for one.
const YIELDS: u32 = 16;

/// From then on whoever waits sleeps between two looks, so that a holder of a lower priority gets its turn.
const NAP: Duration = Duration::from_micros(50);

/// Holds what threads share for moments, in which they neither wait nor call what they do not know.
#[derive(Debug, Default)]
pub(crate) struct Brief<T>(TryLock<T>);

impl<T> Brief<T> {
    #[inline]
    pub(crate) fn lock(&self) -> impl DerefMut<Target = T> + '_ {
        match self.0.try_lock() {
            Some(locked) => locked,
            None => self.wait(),
        }
    }

    #[cold]
    fn wait(&self) -> try_lock::Locked<'_, T> {
        let mut looks = 0;
        loop {
            if let Some(locked) = self.0.try_lock() {
                return locked;
            }
            looks += 1;
            match looks {
                ..=SPINS => (0..1 << looks).for_each(|_| std::hint::spin_loop()),
                _ if looks <= SPINS + YIELDS => std::thread::yield_now(),
                _ => std::thread::sleep(NAP),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn threads_take_turns() {
        const THREADS: usize = 4;
        const TURNS: usize = 10_000;
        let sum = Arc::new(Brief::<usize>::default());
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let sum = sum.clone();
                std::thread::spawn(move || {
                    for _ in 0..TURNS {
                        *sum.lock() += 1;
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*sum.lock(), THREADS * TURNS);
    }

    #[test]
    fn whoever_finds_it_held_waits_until_it_is_let_go() {
        let held = Arc::new(Brief::<bool>::default());
        let mut guard = held.lock();
        let other = {
            let held = held.clone();
            std::thread::spawn(move || *held.lock())
        };
        // Far longer than it spins.
        std::thread::sleep(NAP * 20);
        *guard = true;
        drop(guard);
        assert!(other.join().unwrap(), "what was written before is seen");
    }
}
