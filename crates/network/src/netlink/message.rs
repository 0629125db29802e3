//! Netlink messages: an encoder that batches several requests into one buffer, and readers for replies.

/// `NLM_F_REQUEST`.
pub(crate) const REQUEST: u16 = 0x01;
/// `NLM_F_ACK`.
pub(crate) const ACK: u16 = 0x04;
/// `NLM_F_EXCL`, of a request that creates.
pub(crate) const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`, of a request that creates.
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`, of a request that creates.
pub(crate) const APPEND: u16 = 0x800;
/// `NLM_F_ROOT | NLM_F_MATCH`, of a request that reads.
pub(crate) const DUMP: u16 = 0x300;

/// `NLMSG_ERROR`, which is also how success is acknowledged.
pub(crate) const TYPE_ERROR: u16 = 2;
/// `NLMSG_DONE`, the end of a dump.
pub(crate) const TYPE_DONE: u16 = 3;

/// Length of `struct nlmsghdr` in bytes.
pub(crate) const HEADER_LEN: usize = 16;
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

/// Requests one after another in one buffer; the kernel handles them in order.
#[derive(Debug, Default, Clone)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// Offset of the message that is being written.
    current: usize,
    messages: u32,
}

impl Batch {
    /// Begins a message; the one before it is complete. `fixed` is the family's own header.
    pub(crate) fn message(&mut self, kind: u16, flags: u16, fixed: &[u8]) -> &mut Self {
        self.current = self.bytes.len();
        // Sequence numbers count from 1 within the batch; the socket moves them to its own count.
        self.messages += 1;
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&self.messages.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(fixed);
        self.pad();
        self
    }

    /// Adds an attribute with raw content.
    pub(crate) fn attr(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let len = u16::try_from(value.len() + 4).expect("an attribute holds less than 64 KiB");
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// Adds a string attribute, terminated by a zero byte.
    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes)
    }

    /// Adds a 32-bit attribute in host order, as rtnetlink has it.
    pub(crate) fn u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// Adds a 32-bit attribute in network order, as nf_tables has it.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_be_bytes())
    }

    /// Adds an attribute that holds the attributes which `content` adds.
    pub(crate) fn nest(&mut self, kind: u16, content: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        content(self);
        let len = u16::try_from(self.bytes.len() - start).expect("an attribute holds less than 64 KiB");
        self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self.finish();
        self
    }

    /// Adds bytes without an attribute header, for headers inside attributes.
    pub(crate) fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(value);
        self.pad();
        self
    }

    /// How many messages there are.
    pub(crate) fn len(&self) -> u32 {
        self.messages
    }

    /// Bytes of all messages.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes, with sequence numbers that follow `base`.
    pub(crate) fn numbered(&self, base: u32) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        let mut at = 0;
        let mut seq = base;
        while at + HEADER_LEN <= bytes.len() {
            seq = seq.wrapping_add(1);
            bytes[at + 8..at + 12].copy_from_slice(&seq.to_ne_bytes());
            at += align(read_u32(&bytes, at) as usize);
        }
        bytes
    }

    /// Asks for an acknowledgement of the message written last.
    pub(crate) fn acknowledge(&mut self) {
        let at = self.current + 6;
        let flags = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]) | ACK;
        self.bytes[at..at + 2].copy_from_slice(&flags.to_ne_bytes());
    }

    fn pad(&mut self) {
        self.bytes.resize(align(self.bytes.len()), 0);
        self.finish();
    }

    /// Writes the length of the message so far into its header.
    fn finish(&mut self) {
        let len = u32::try_from(self.bytes.len() - self.current).expect("a message holds less than 4 GiB");
        self.bytes[self.current..self.current + 4].copy_from_slice(&len.to_ne_bytes());
    }
}

/// One received message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reply<'a> {
    /// `nlmsg_type`.
    pub(crate) kind: u16,
    /// `nlmsg_seq`.
    pub(crate) seq: u32,
    /// `nlmsg_pid`: in a notification the port of the socket that caused it.
    pub(crate) port: u32,
    /// Everything after the header.
    pub(crate) payload: &'a [u8],
}

/// The messages in a received datagram. A truncated message ends the iteration.
pub(crate) fn replies(mut bytes: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    std::iter::from_fn(move || {
        if bytes.len() < HEADER_LEN {
            return None;
        }
        let len = read_u32(bytes, 0) as usize;
        if len < HEADER_LEN || len > bytes.len() {
            return None;
        }
        let reply = Reply {
            kind: u16::from_ne_bytes([bytes[4], bytes[5]]),
            seq: read_u32(bytes, 8),
            port: read_u32(bytes, 12),
            payload: &bytes[HEADER_LEN..len],
        };
        bytes = &bytes[align(len).min(bytes.len())..];
        Some(reply)
    })
}

/// The attributes in a payload, as type and content.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        if bytes.len() < 4 {
            return None;
        }
        let len = usize::from(u16::from_ne_bytes([bytes[0], bytes[1]]));
        let kind = u16::from_ne_bytes([bytes[2], bytes[3]]) & TYPE_MASK;
        if len < 4 || len > bytes.len() {
            return None;
        }
        let content = &bytes[4..len];
        bytes = &bytes[align(len).min(bytes.len())..];
        Some((kind, content))
    })
}

/// The content of one attribute.
pub(crate) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, content)| content)
}

/// A string attribute up to its zero byte.
pub(crate) fn text(content: &[u8]) -> String {
    let end = content.iter().position(|b| *b == 0).unwrap_or(content.len());
    String::from_utf8_lossy(&content[..end]).into_owned()
}

/// A 32-bit value in host order; the caller has checked the length.
pub(crate) fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn align(len: usize) -> usize {
    len.next_multiple_of(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip() {
        let mut batch = Batch::default();
        batch.message(16, REQUEST, &[9; 4]).text(3, "br0").nest(18, |b| {
            b.u32(1, 7);
        });
        batch.message(20, REQUEST, &[]).attr(1, &[1, 2, 3]);
        batch.acknowledge();
        let bytes = batch.numbered(100);
        let found: Vec<_> = replies(&bytes).collect();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].kind, found[0].seq), (16, 101));
        assert_eq!((found[1].kind, found[1].seq), (20, 102));
        let body = &found[0].payload[4..];
        assert_eq!(text(attribute(body, 3).unwrap()), "br0");
        assert_eq!(read_u32(attribute(attribute(body, 18).unwrap(), 1).unwrap(), 0), 7);
        assert_eq!(attribute(found[1].payload, 1).unwrap(), [1, 2, 3]);
    }

    #[test]
    fn torn_replies_end_quietly() {
        let mut batch = Batch::default();
        batch.message(16, REQUEST, &[9; 4]).text(3, "br0");
        let bytes = batch.numbered(0);
        for cut in 0..bytes.len() {
            assert_eq!(replies(&bytes[..cut]).count(), 0);
            attributes(&bytes[..cut]).count();
        }
    }
}
