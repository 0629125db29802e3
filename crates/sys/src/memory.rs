//! Memory of this process that it can do without.

use rustix::mm::{Advice, madvise};
use std::io;

/// Serves all threads of this process from one heap. Heaps of their own, glibc's default, make threads faster that
/// allocate all the time; a process that waits most of the time only pays for them. Call before the first thread.
pub fn share_one_heap() {
    // Its failure (0) leaves the default, which is correct, too.
    // SAFETY: mallopt(3) takes two numbers and changes the allocator's settings only.
    let _ = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Gives free heap memory back to the kernel, and lets go of the pages of the program text, which come back from the
/// page cache when they are executed again.
///
/// # Errors
/// When `/proc/self/maps` cannot be read, or madvise(2) fails.
pub fn give_back() -> io::Result<()> {
    // SAFETY: malloc_trim(3) takes a number and only frees pages that hold no allocation.
    unsafe { libc::malloc_trim(0) };
    let program = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    for (start, length) in text_of(&maps, &program.to_string_lossy()) {
        // SAFETY: the range is a private mapping of a file that may be executed and never written: its pages are
        // the file's own, and reading them again gives the same bytes.
        unsafe { madvise(start as *mut std::ffi::c_void, length, Advice::LinuxDontNeed)? };
    }
    Ok(())
}

/// The ranges of a program's text, by proc_pid_maps(5).
fn text_of(maps: &str, program: &str) -> Vec<(usize, usize)> {
    maps.lines()
        .filter_map(|line| {
            let (range, rest) = line.split_once(' ')?;
            if !rest.starts_with("r-xp ") || !rest.ends_with(program) {
                return None;
            }
            let (start, end) = range.split_once('-')?;
            let start = usize::from_str_radix(start, 16).ok()?;
            Some((start, usize::from_str_radix(end, 16).ok()?.checked_sub(start)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_of_the_program_is_let_go() {
        let maps = "1000-3000 r--p 00000000 fe:00 12 /bin/x\n\
                    3000-8000 r-xp 00002000 fe:00 12 /bin/x\n\
                    8000-9000 rw-p 00007000 fe:00 12 /bin/x\n\
                    9000-a000 rw-p 00000000 00:00 0 [heap]\n\
                    b000-c000 r-xp 00000000 00:00 0 [vdso]\n";
        assert_eq!(text_of(maps, "/bin/x"), [(0x3000, 0x5000)]);
    }

    #[test]
    fn a_process_goes_on_after_giving_back() {
        let kept = vec![7u8; 1 << 20];
        drop(vec![1u8; 8 << 20]);
        give_back().unwrap();
        assert!(kept.iter().all(|b| *b == 7));
    }
}
