//! Searches the memory of a stopped process for a text: heap, stacks, and static data.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

const MASK: u8 = 0x5a;
const PAGE: usize = 4096;

/// The places of the text in all writable memory of the process: address, and line of its memory map.
pub fn places(pid: u32, text: &str) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("Linux");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("a child of this process");
    let mut places = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (start, end) = range(line);
        let found = find_all(&read(&memory, start, end), text.as_bytes());
        places.extend(found.iter().map(|place| format!("{:#x} {line}", start + place)));
    }
    places
}

/// A range of memory, with zeros for the pages that cannot be read.
fn read(memory: &File, start: usize, end: usize) -> Vec<u8> {
    let mut bytes = vec![0; end - start];
    let mut filled = 0;
    while filled < bytes.len() {
        match memory.read_at(&mut bytes[filled..], (start + filled) as u64) {
            Ok(amount) if amount > 0 => filled += amount,
            _ => filled = (filled / PAGE + 1) * PAGE,
        }
    }
    bytes
}

/// The offsets of the text, overlapping ones too. With memmem, because a loop in Rust takes too long in
/// a debug build.
fn find_all(bytes: &[u8], text: &[u8]) -> Vec<usize> {
    let mut places = Vec::new();
    let mut from = 0;
    while from < bytes.len() {
        let rest = &bytes[from..];
        // SAFETY: both pointers are valid for their lengths.
        let found = unsafe {
            libc::memmem(rest.as_ptr().cast(), rest.len(), text.as_ptr().cast(), text.len())
        };
        if found.is_null() {
            break;
        }
        let place = found as usize - bytes.as_ptr() as usize;
        places.push(place);
        from = place + 1;
    }
    places
}

/// The text encoded so that a child can receive it without `places` finding it there.
pub fn masked(text: &str) -> String {
    text.bytes().map(|byte| format!("{:02x}", byte ^ MASK)).collect()
}

/// The text that was encoded by `masked`. Leaves no other copy in memory.
pub fn unmasked(text: &str) -> zeroize::Zeroizing<String> {
    let mut unmasked = zeroize::Zeroizing::new(String::with_capacity(text.len() / 2));
    for index in (0..text.len()).step_by(2) {
        let byte = u8::from_str_radix(&text[index..index + 2], 16).expect("hex");
        unmasked.push((byte ^ MASK).into());
    }
    unmasked
}

fn range(line: &str) -> (usize, usize) {
    let (range, _) = line.split_once(' ').expect("a range");
    let (start, end) = range.split_once('-').expect("two ends");
    let number = |text| usize::from_str_radix(text, 16).expect("hex");
    (number(start), number(end))
}
