//! Docker's multiplexed stream: a frame is the number of the stream (1 stdout, 2 stderr), three zeros, the length as
//! four bytes, big end first, and the bytes.

/// Bytes of a frame's head.
pub(crate) const HEAD: usize = 8;

/// The head of a frame.
pub(crate) fn head(stream: u8, length: usize) -> [u8; HEAD] {
    // A frame carries what was read at once or one entry of a log, both far below 4 GiB.
    let [a, b, c, d] = (length as u32).to_be_bytes();
    [stream, 0, 0, 0, a, b, c, d]
}

/// A whole frame.
pub(crate) fn frame(stream: u8, bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(HEAD + bytes.len());
    frame.extend_from_slice(&head(stream, bytes.len()));
    frame.extend_from_slice(bytes);
    frame
}

/// Takes the heads out of frames that come in pieces.
#[derive(Debug, Default)]
pub(crate) struct Unframer {
    head: Vec<u8>,
    /// Bytes of the frame that are still to come.
    left: usize,
}

impl Unframer {
    /// The content of the next bytes.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut content = Vec::with_capacity(bytes.len());
        while !bytes.is_empty() {
            if self.left == 0 {
                let (head, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
                self.head.extend_from_slice(head);
                bytes = rest;
                if let [_, _, _, _, a, b, c, d] = self.head[..] {
                    self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                    self.head.clear();
                }
                continue;
            }
            let (own, rest) = bytes.split_at(bytes.len().min(self.left));
            content.extend_from_slice(own);
            self.left -= own.len();
            bytes = rest;
        }
        content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_taken_out_wherever_the_pieces_end() {
        let bytes = [frame(1, b"hello "), frame(2, b""), frame(2, b"world")].concat();
        for length in 1..=bytes.len() {
            let mut unframer = Unframer::default();
            let content: Vec<u8> = bytes.chunks(length).flat_map(|piece| unframer.feed(piece)).collect();
            assert_eq!(content, b"hello world", "pieces of {length}");
        }
    }
}
