//! Looks for text in the memory of this process.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

const MASK: u8 = 0x5a;
const CHUNK: usize = 1 << 16;

/// Text to look for that is not in memory itself.
pub struct Needle(Vec<u8>);

impl Needle {
    /// From what `masked` gave.
    pub fn from_masked(text: &str) -> Needle {
        let byte = |index| u8::from_str_radix(&text[index..index + 2], 16).expect("hex");
        Needle((0..text.len()).step_by(2).map(byte).collect())
    }

    /// Whose text the caller wipes.
    pub fn new(text: &[u8]) -> Needle {
        Needle(text.iter().map(|byte| byte ^ MASK).collect())
    }

    pub fn text(&self) -> zeroize::Zeroizing<String> {
        let mut text = zeroize::Zeroizing::new(String::with_capacity(self.0.len()));
        self.0.iter().for_each(|byte| text.push((byte ^ MASK).into()));
        text
    }

    /// Where it is now, in what this process can write to.
    pub fn places(&self) -> Vec<String> {
        let maps = fs::read_to_string("/proc/self/maps").expect("Linux");
        let memory = File::open("/proc/self/mem").expect("Linux");
        let text = self.text();
        let mut buffer = zeroize::Zeroizing::new(vec![0; CHUNK + text.len()]);
        let own = [text.as_bytes().as_ptr_range(), buffer.as_ptr_range()];
        let own = own.map(|range| range.start as usize..range.end as usize);
        let mut places = Vec::new();
        for line in maps.lines().filter(|line| line.contains(" rw")) {
            let (start, end) = range(line);
            for at in (start..end).step_by(CHUNK) {
                let length = buffer.len().min(end - at);
                let Ok(length) = memory.read_at(&mut buffer[..length], at as u64) else {
                    continue;
                };
                for place in find_all(&buffer[..length], text.as_bytes()) {
                    let place = at + place;
                    if !own.iter().any(|range| range.contains(&place)) {
                        places.push(format!("{place:#x} {line}"));
                    }
                }
            }
        }
        places
    }
}

/// Every place; quick also in a build without optimisation.
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

/// Text in a form that can be handed to a child without being found there.
pub fn masked(text: &str) -> String {
    text.bytes().map(|byte| format!("{:02x}", byte ^ MASK)).collect()
}

fn range(line: &str) -> (usize, usize) {
    let (range, _) = line.split_once(' ').expect("a range");
    let (start, end) = range.split_once('-').expect("two ends");
    let number = |text| usize::from_str_radix(text, 16).expect("hex");
    (number(start), number(end))
}
