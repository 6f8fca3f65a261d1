//! Memory that stays where it is: `mlock(2)` on what holds keys.

use std::io;

/// Keeps the pages that hold `value` itself from being swapped out, until they are unmapped. What `value` points to is
/// elsewhere, and needs a call of its own.
///
/// # Errors
/// What the kernel says: `ENOMEM` where a process may not lock as much (`RLIMIT_MEMLOCK`).
pub fn lock<T: ?Sized>(value: &T) -> io::Result<()> {
    let length = size_of_val(value);
    if length == 0 {
        return Ok(());
    }
    let address = std::ptr::from_ref(value).cast::<std::ffi::c_void>();
    // SAFETY: the range is that of a live reference, so it is mapped; locking a page changes nothing that it holds.
    #[expect(unsafe_code, reason = "mlock takes an address")]
    unsafe { rustix::mm::mlock(address.cast_mut(), length) }?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locked_kilobytes() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn what_is_locked_is_counted_as_locked() {
        let page = vec![7_u8; 1 << 16];
        let before = locked_kilobytes();
        lock(page.as_slice()).unwrap();
        assert!(locked_kilobytes() >= before + 64);
        lock::<[u8]>(&[]).unwrap();
    }
}
