//! The allocator of the bench: the system's, which counts while it is asked to.
//!
//! It counts over all threads, because a message may be allocated on one and freed on another, and costs a load and a branch while it
//! does not count, so that throughput is that of the system's allocator. Bytes are those that were asked for, without what the system's
//! allocator adds for itself.

#![expect(unsafe_code, reason = "an allocator is unsafe by its trait; this one only passes on")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicI64 = AtomicI64::new(0);

struct Counting;

fn count(bytes: usize, freed: usize) {
    if COUNTS.load(Ordering::Relaxed) {
        ALLOCATIONS.fetch_add(u64::from(bytes > 0), Ordering::Relaxed);
        BYTES.fetch_add(bytes as i64 - freed as i64, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps `alloc_zeroed`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: the caller keeps `realloc`'s contract, and `old` came from the system's allocator.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller keeps `dealloc`'s contract, and `old` came from the system's allocator.
        unsafe { System.dealloc(old, layout) }
    }
}

/// Begins to count in this process, from zero.
pub(crate) fn start() {
    ALLOCATIONS.store(0, Ordering::Relaxed);
    BYTES.store(0, Ordering::Relaxed);
    COUNTS.store(true, Ordering::Relaxed);
}

/// Ends counting: allocations and reallocations of all threads of this process since [`start`].
pub(crate) fn stop() -> u64 {
    COUNTS.store(false, Ordering::Relaxed);
    ALLOCATIONS.load(Ordering::Relaxed)
}

/// Bytes of the heap that were taken since [`start`] and not given back, until now or [`stop`]. Negative where more was given back.
pub(crate) fn held() -> i64 {
    BYTES.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    #[test]
    fn allocations_count_only_between_start_and_stop() {
        super::start();
        // Other tests of this process may allocate at the same time, so there is no upper bound.
        (0..100).for_each(|n| drop(black_box(Box::new(n))));
        let before = super::held();
        // Far more than other tests hold.
        let mut large = black_box(vec![0_u8; 1 << 30]);
        let with = super::held() - before;
        large.truncate(1 << 29);
        large.shrink_to_fit();
        let half = super::held() - before;
        drop(black_box(large));
        let without = super::held() - before;
        for (held, expected) in [(with, 1 << 30), (half, 1 << 29), (without, 0)] {
            assert!((held - expected).abs() < 1 << 28, "{held} instead of {expected}");
        }
        let counted = super::stop();
        assert!(counted >= 100, "{counted}");
        (0..100).for_each(|n| drop(black_box(Box::new(n))));
        assert_eq!(super::stop(), counted);
    }
}
