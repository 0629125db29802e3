//! The keys that leave a container without stopping it: the engine watches for them in what clients of a terminal type
//! (parameter `detachKeys` of the API), and so may clients themselves.

/// Ctrl-P Ctrl-Q.
pub const DEFAULT: &str = "ctrl-p,ctrl-q";

/// Watches keys for the sequence.
#[derive(Debug)]
pub struct Watch {
    keys: Vec<u8>,
    seen: usize,
}

/// What was typed, without the keys of the sequence.
#[derive(Debug, PartialEq, Eq)]
pub struct Typed {
    /// For the container.
    pub bytes: Vec<u8>,
    /// The sequence is complete.
    pub detached: bool,
}

impl Watch {
    /// Parses `ctrl-a,b`; an empty text watches for nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        for key in text.split(',').filter(|key| !key.is_empty()) {
            let bytes = key.as_bytes();
            keys.push(match (bytes, key.strip_prefix("ctrl-")) {
                ([one], _) => *one,
                (_, Some(letter)) if letter.len() == 1 => match letter.as_bytes()[0] {
                    letter @ b'a'..=b'z' => letter - b'a' + 1,
                    letter @ b'A'..=b'Z' => letter - b'A' + 1,
                    b'@' => 0,
                    b'[' => 27,
                    b'\\' => 28,
                    b']' => 29,
                    b'^' => 30,
                    b'_' => 31,
                    _ => return Err(invalid(text)),
                },
                _ => return Err(invalid(text)),
            });
        }
        Ok(Self { keys, seen: 0 })
    }

    /// Takes what was typed. Keys that may begin the sequence are held back until it is clear.
    pub fn feed(&mut self, input: &[u8]) -> Typed {
        let mut bytes = Vec::with_capacity(input.len());
        if self.keys.is_empty() {
            return Typed { bytes: input.to_vec(), detached: false };
        }
        for byte in input {
            if *byte == self.keys[self.seen] {
                self.seen += 1;
                if self.seen == self.keys.len() {
                    return Typed { bytes, detached: true };
                }
                continue;
            }
            bytes.extend_from_slice(&self.keys[..self.seen]);
            self.seen = usize::from(*byte == self.keys[0]);
            if self.seen == 0 {
                bytes.push(*byte);
            } else if self.keys.len() == 1 {
                return Typed { bytes, detached: true };
            }
        }
        Typed { bytes, detached: false }
    }
}

fn invalid(text: &str) -> String {
    format!(
        "invalid detach keys ({text}) provided: letters and ctrl-<letter>, separated by commas, are expected"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8], detached: bool) -> Typed {
        Typed { bytes: bytes.to_vec(), detached }
    }

    #[test]
    fn the_sequence_is_taken_out() {
        let mut watch = Watch::parse(DEFAULT).unwrap();
        assert_eq!(watch.feed(b"ls\x10"), typed(b"ls", false));
        assert_eq!(watch.feed(b"x"), typed(b"\x10x", false));
        assert_eq!(watch.feed(b"\x10"), typed(b"", false));
        assert_eq!(watch.feed(b"\x10"), typed(b"\x10", false), "the second may be the beginning");
        assert_eq!(watch.feed(b"\x11rest"), typed(b"", true));
        let mut none = Watch::parse("").unwrap();
        assert_eq!(none.feed(b"\x10\x11"), typed(b"\x10\x11", false));
        assert!(Watch::parse("ctrl-").is_err() && Watch::parse("abc").is_err());
    }
}
