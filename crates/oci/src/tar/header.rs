//! The 512-byte header block: fields, numbers, checksum.

use super::BLOCK;

pub(super) const MAGIC_POSIX: &[u8; 8] = b"ustar\x0000";
pub(super) const MAGIC_GNU: &[u8; 8] = b"ustar  \x00";

/// A header block with its fields by name.
pub(super) struct Block(pub(super) [u8; BLOCK]);

macro_rules! fields {
    ($($name:ident: $range:expr;)*) => {
        impl Block {
            $(pub(super) fn $name(&self) -> &[u8] { &self.0[$range] })*
        }
    };
}

fields! {
    name: 0..100;
    mode: 100..108;
    uid: 108..116;
    gid: 116..124;
    size: 124..136;
    mtime: 136..148;
    link: 157..257;
    magic: 257..265;
    major: 329..337;
    minor: 337..345;
    prefix: 345..500;
    gnu_sparse: 386..482;
    gnu_real_size: 483..495;
}

impl Block {
    pub(super) fn type_flag(&self) -> u8 {
        self.0[156]
    }

    pub(super) fn gnu_is_extended(&self) -> bool {
        self.0[482] != 0
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.iter().all(|b| *b == 0)
    }

    /// Whether the checksum holds; old tars summed signed bytes.
    pub(super) fn checksum_holds(&self) -> bool {
        let Some(stated) = number(&self.0[148..156]) else { return false };
        let (mut unsigned, mut signed) = (0i64, 0i64);
        for (at, byte) in self.0.iter().enumerate() {
            let byte = if (148..156).contains(&at) { b' ' } else { *byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        stated == unsigned || stated == signed
    }

    /// The name, with ustar's prefix before it.
    pub(super) fn full_name(&self) -> Vec<u8> {
        let name = text(self.name());
        let prefix = if self.magic()[..6] != *b"ustar\0" {
            &[][..]
        } else if &self.0[508..512] == b"tar\0" {
            // star keeps times in the last 24 bytes of the prefix.
            text(&self.prefix()[..131])
        } else {
            text(self.prefix())
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }
}

/// A field up to its first zero byte.
pub(super) fn text(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or_default()
}

/// A number: octal digits among spaces and zeros, or GNU's base 256. `None` if it is neither or too large.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    match field.first()? {
        first if first & 0x80 != 0 => {
            let negative = first & 0x40 != 0;
            let mut value: i64 = if negative { -1 } else { 0 };
            for (at, byte) in field.iter().enumerate() {
                let byte = match (at, negative) {
                    (0, false) => byte & 0x7f,
                    _ => *byte,
                };
                let next = value.checked_mul(256)?;
                value = next.checked_add(i64::from(byte))?;
            }
            Some(value)
        }
        _ => {
            let digits = field.trim_ascii_start();
            let digits = digits.strip_prefix(b"\0").unwrap_or(digits);
            let end = digits.iter().position(|b| matches!(b, 0 | b' ')).unwrap_or(digits.len());
            let mut value: i64 = 0;
            for byte in &digits[..end] {
                if !matches!(byte, b'0'..=b'7') {
                    return None;
                }
                value = value.checked_mul(8)?.checked_add(i64::from(byte - b'0'))?;
            }
            Some(value)
        }
    }
}
