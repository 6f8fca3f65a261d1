//! What every target has around it: no single allocation may be out of proportion to the input, so that no length
//! that the input states is believed before it was held against the bytes that are there.
//!
//! libFuzzer's `-malloc_limit_mb` needs a sanitizer's hooks, and is in megabytes whatever the input's size. This is
//! an allocator of our own, which works in any build. What C code allocates does not pass it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

#[doc(hidden)]
pub use libfuzzer_sys;

/// What may be allocated at once whatever the input: a vendor's documents, the tables of a memo.
const BASE: usize = 64 * 1024;
/// What may be allocated at once for each byte of input: an array of JSON or CBOR has an element of 32 bytes for a
/// byte or two, and a vector that grows doubles.
const PER_BYTE: usize = 32;

/// Defines a target of raw bytes, held to the limit: `fuzz_target!(|bytes| { … })`.
#[macro_export]
macro_rules! fuzz_target {
    (|$bytes:ident: &[u8]| $body:block) => {
        $crate::libfuzzer_sys::fuzz_target!(|$bytes: &[u8]| {
            let _limited = $crate::Limited::to_input($bytes.len());
            $body
        });
    };
}

/// While it lives, a larger allocation ends the process, which is a finding.
pub struct Limited(());

impl Limited {
    /// To what an input of `length` bytes may cause.
    pub fn to_input(length: usize) -> Self {
        LIMIT.store(BASE + PER_BYTE * length, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        LIMIT.store(usize::MAX, Ordering::Relaxed);
    }
}

static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

#[global_allocator]
static ALLOCATOR: Limiting = Limiting;

struct Limiting;

fn check(size: usize) {
    let limit = LIMIT.load(Ordering::Relaxed);
    // A panic is a finding already, and its backtrace is large.
    if size > limit && !std::thread::panicking() {
        // The message allocates.
        LIMIT.store(usize::MAX, Ordering::Relaxed);
        eprintln!("an allocation of {size} bytes, more than the {limit} that this input may cause");
        std::process::abort();
    }
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Limiting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: the caller keeps the contract of this very method.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        check(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}
